// The console: what a job prints, as its owner reads it.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { browser, stack } from "./setup.js";
import { claim, findings, jobchute, jobchuteBeside, newAccounts, openConsole, screenshots, tooWide } from "./stack.js";

const create = () => jobchute(stack.env, "create", stack.env.JOBCHUTE_CHUTE, "run", '{"scene":"teapot"}');

/** The console at a job, what it asks of the job's log, and what it asks of the bucket. */
async function atJob(id, options = {}) {
  const opened = await openConsole(browser, stack, options);
  const { page } = opened;
  const [listed, fetched] = [[], []];
  page.on("request", (request) => {
    if (request.url().includes(`/jobs/${id}/logs?`) || request.url().endsWith(`/jobs/${id}/logs`)) listed.push(request);
    if (request.url().startsWith(stack.env.JOBCHUTE_AWS)) fetched.push(request);
  });
  await page.getByRole("searchbox", { name: "Job id" }).fill(id);
  await page.keyboard.press("Enter");
  await page.locator("#job").getByText(id, { exact: true }).waitFor();
  const log = page.getByRole("region", { name: "Log" });
  const output = page.locator("#log-text");
  /** Waits until the output has this. */
  const has = (text) => page.waitForFunction((it) => document.querySelector("#log-text").textContent.includes(it), text);
  const looks = async (times) => {
    for (let time = 0; time < times; time += 1) await page.waitForResponse((answer) => answer.url().endsWith(`${id}?view=status`));
  };
  return { ...opened, id, listed, fetched, log, output, has, looks };
}

/** A job that is running, at its page, and its miner. */
async function running(options) {
  const id = create();
  const miner = await claim(stack.env, id);
  return { miner, ...(await atJob(id, options)) };
}

test("what a job prints is shown as it comes, and nobody asks for more than there is", async () => {
  const { page, context, miner, listed, fetched, log, output, has, looks, complaints } = await running();
  await looks(1);
  assert.ok(!(await log.isVisible()));
  assert.equal(listed.length, 0);
  await miner.print("epoch 1\n");
  await has("epoch 1\n");
  await log.getByText(/^All 8 B · the last of it came just now$/).waitFor();
  const { length } = listed;
  await looks(2);
  assert.equal(listed.length, length);
  // What stands still in the job stays the same.
  const heading = await page.locator("#job h2").elementHandle();
  await miner.print("epoch 2\nepoch 3\n");
  await has("epoch 3\n");
  await page.locator("#log-news").getByText("The log has 2 more lines").waitFor({ state: "attached" });
  assert.equal(await output.textContent(), "epoch 1\nepoch 2\nepoch 3\n");
  assert.equal(listed.length, length + 1);
  assert.ok(await heading.evaluate((it) => it.isConnected));
  assert.deepEqual(await findings(page), []);
  await miner.complete({ n: 1 });
  await page.locator("#job").getByText("Complete", { exact: true }).waitFor();
  // It is over, and the log was read.
  for (const _ of "ab") await page.waitForResponse((answer) => answer.url().endsWith("/jobs?"));
  assert.equal(listed.length, length + 1);
  // The bucket gets no key.
  assert.ok(fetched.length > 0);
  for (const request of fetched) assert.equal((await request.allHeaders()).authorization, undefined);
  await page.screenshot({ path: `${screenshots}/console-log.png`, fullPage: true });

  const without = create();
  await (await claim(stack.env, without)).complete({ n: 1 });
  await page.locator(`[data-job="${without}"]`).click();
  await page.locator("#job").getByText("Complete", { exact: true }).waitFor();
  assert.ok(!(await log.isVisible()));
  assert.deepEqual(complaints, []);
  await context.close();
});

test("nothing that a job prints runs, links, copies or steers, wherever it is cut", async () => {
  const { page, context, miner, output, has, complaints } = await running({ permissions: ["clipboard-read", "clipboard-write"] });
  await page.evaluate(() => navigator.clipboard.writeText("mine"));
  const image = `<img src=x onerror="document.title='ran'">`;
  const printed = [
    `${image}<script>document.title='ran'</script>`,
    "\x1b[1;31mred\x1b[0m \x9b32mgreen\x9b0m \x1b[38:2::1:2:3mblue",
    "\x1b]8;;https://elsewhere.example/\x1b\\a link\x1b]8;;\x07",
    "\x1b]52;c;ZXZpbA==\x07\x1b]0;title\x07clipboard",
    "\x1b[2J\x1b[H\x1b(B\x1b7\x1bcscreen \x1bP1$r0m\x1b\\\x1b_a\x1b\\",
    "gpj.\u202Eexe \u0007 \u{1f600} é",
    "10 %\r20 %\r\r\nunfinished \x1b]0;title",
    "\x1b[31",
  ].join("\n");
  const expected = [
    `${image}<script>document.title='ran'</script>`,
    "red green blue",
    "a link",
    "clipboard",
    "screen ",
    "gpj.\\u202eexe \\u0007 \u{1f600} é",
    "10 %\n20 %\nunfinished ",
    "end\n",
  ].join("\n");
  // In pieces that begin and end anywhere: within a character, within a sequence.
  const all = Buffer.from(`${printed}mend\n`);
  for (let from = 0; from < all.length; from += 9) await miner.print(all.subarray(from, from + 9));
  await has("end\n");
  assert.equal(await output.textContent(), expected);
  assert.equal(await page.locator("#log img, #log script, #log a").count(), 0);
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), "mine");
  await miner.print(Buffer.from([0xff, 0xfe, 0x0a, 0xe2, 0x82]));
  await miner.print("\n");
  await has("\ufffd\ufffd\n\ufffd\n");
  assert.equal(await page.title(), "Jobchute console");
  assert.deepEqual(complaints, []);
  await context.close();
});

const lines = (from, to) => Array.from({ length: to - from }, (_, index) => `line ${String(from + index).padStart(7, "0")}\n`).join("");

test("of a long log the end is shown, then what came before, and all of it is saved", async () => {
  const id = create();
  const miner = await claim(stack.env, id);
  await miner.print(lines(0, 120_000));
  const { page, context, log, output, has, fetched, complaints } = await atJob(id);
  await has("line 0119999\n");
  await log.getByText(/^The last 2\d\d\.\d KiB of 1\.5 MiB/).waitFor();
  const shown = async () => (await output.textContent()).split("\n").slice(0, -1);
  const first = (await shown())[0];
  assert.match(first, /^line \d{7}$/);
  // In order, none is missing, and no more is fetched than is shown.
  assert.equal(`${(await shown()).join("\n")}\n`, lines(Number(first.slice(5)), 120_000));
  const sizes = await Promise.all(fetched.map(async (it) => (await (await it.response()).body()).length));
  assert.ok(sizes.reduce((sum, it) => sum + it, 0) <= 256 << 10, sizes.join());
  const isAtEnd = () => output.evaluate((it) => it.scrollTop + it.clientHeight >= it.scrollHeight - 1);
  assert.ok(await isAtEnd());

  // Who reads the beginning of it is not carried away by what comes, which is more than fits.
  await output.evaluate((it) => (it.scrollTop = 0));
  await miner.print(lines(120_000, 130_000));
  const latest = log.getByRole("button", { name: "Show the latest" });
  await latest.waitFor();
  assert.deepEqual([(await shown())[0], await output.evaluate((it) => it.scrollTop)], [first, 0]);
  await latest.click();
  await has("line 0129999\n");
  assert.ok(await isAtEnd());

  const earlier = log.getByRole("button", { name: "Show what came before" });
  const before = async () => {
    const was = (await shown())[0];
    await earlier.click();
    await page.waitForFunction((it) => !document.querySelector("#log-text").textContent.startsWith(it), was);
    const [now, ...rest] = await shown();
    assert.ok(now < was && rest.includes(was), `${now} ${was}`);
    // The line that was the first is to be seen, and others before it.
    const { top, height } = await output.evaluate((it, was) => {
      const range = document.createRange();
      const walker = document.createTreeWalker(it, NodeFilter.SHOW_TEXT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        const at = node.data.indexOf(was);
        if (at >= 0) range.setStart(node, at);
      }
      return { top: range.getBoundingClientRect().top - it.getBoundingClientRect().top, height: it.clientHeight };
    }, was);
    assert.ok(top > 0 && top < height, `${top} of ${height}`);
    return Number(now.slice(5));
  };
  const at = await before();
  const all = await shown();
  assert.equal(`${all.join("\n")}\n`, lines(at, at + all.length));
  assert.ok((await page.evaluate(() => document.documentElement.outerHTML.length)) < 400_000);
  await page.screenshot({ path: `${screenshots}/console-log-long.png`, fullPage: true });
  await earlier.focus();
  while ((await before()) > 0);
  assert.ok(!(await earlier.isVisible()));
  assert.equal(await page.evaluate(() => document.activeElement.id), "log-text");
  assert.deepEqual(await findings(page), []);

  // What comes now does not carry the reader away.
  await miner.print("the latest\n");
  await log.getByText(/^2\d\d\.\d KiB of 1\.6 MiB/).waitFor();
  assert.equal((await shown())[0], "line 0000000");
  await latest.click();
  await has("the latest\n");
  assert.ok(await isAtEnd());
  assert.equal(await page.evaluate(() => document.activeElement.id), "log-text");

  const arrives = page.waitForEvent("download");
  await log.getByRole("button", { name: "Download: Log" }).click();
  const download = await arrives;
  assert.equal(download.suggestedFilename(), `${id}.log`);
  assert.ok(readFileSync(await download.path(), "utf8") === `${lines(0, 130_000)}the latest\n`);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a line of 10 MB, and bytes that are no text, keep the page small", async () => {
  const { page, context, miner, log, has, complaints } = await running({ viewport: { width: 390, height: 844 } });
  await miner.print("x".repeat(10_000_000));
  await miner.print("the end");
  await has("xxxthe end");
  await log.getByText(/^The last 2\d\d\.\d KiB of 9\.5 MiB/).waitFor();
  await log.getByRole("button", { name: "Show what came before" }).click();
  await log.getByRole("button", { name: "Show the latest" }).waitFor();
  assert.ok((await page.evaluate(() => document.documentElement.outerHTML.length)) < 400_000);
  assert.equal(await tooWide(page), 0);
  await miner.print(Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 7919) % 256)));
  await miner.print("\nstill there\n");
  await log.getByText(/of 9\.8 MiB/).waitFor();
  await log.getByRole("button", { name: "Show the latest" }).click();
  await has("still there\n");
  assert.equal(await tooWide(page), 0);
  assert.deepEqual(await findings(page), []);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("it follows the end where the reader is at the end, and stays where he reads", async () => {
  const { context, miner, output, has } = await running();
  await miner.print(lines(0, 200));
  await has("line 0000199");
  const at = () => output.evaluate((it) => [it.scrollTop, it.scrollHeight - it.clientHeight]);
  const isAtEnd = async () => {
    const [top, end] = await at();
    return end > 0 && top >= end - 1;
  };
  assert.ok(await isAtEnd());
  await miner.print(lines(200, 220));
  await has("line 0000219");
  assert.ok(await isAtEnd());
  // By keyboard.
  await output.focus();
  await output.press("Home");
  await output.evaluate((it) => new Promise((resolve) => (it.scrollTop === 0 ? resolve() : it.addEventListener("scrollend", resolve))));
  await miner.print(lines(220, 240));
  await has("line 0000239");
  assert.equal((await at())[0], 0);
  // A change of the job's state moves neither the reader nor the focus.
  await miner.complete({ n: 1 });
  await output.page().locator("#job").getByText("Complete", { exact: true }).waitFor();
  assert.equal((await at())[0], 0);
  assert.equal(await output.page().evaluate(() => document.activeElement.id), "log-text");
  await context.close();
});

for (const colorScheme of ["light", "dark"]) {
  test(`attempts are told apart, and what was left out or is gone is told, on a phone, ${colorScheme}`, async () => {
    const id = create();
    const first = await claim(stack.env, id);
    await first.print("loading weights…\n\x1b]0;a title that does not end");
    await first.release();
    const other = newAccounts(stack.env).JOBCHUTE_MINER_KEY;
    const second = await claim({ ...stack.env, JOBCHUTE_MINER_KEY: other }, id);
    await second.print("loading weights again…\n");
    await second.print("\n[32 bytes are left out here]\n");
    await second.print("done\n");
    const options = { colorScheme, viewport: { width: 390, height: 844 } };
    const { page, context, output, has, fetched } = await atJob(id, options);
    await has("done\n");
    const text = /^Attempt 1 · (just now|\d+ \w+ ago)\s+loading weights…\s+Attempt 2 · (just now|\d+ \w+ ago)\s+loading weights again…\s+\[32 bytes are left out here\]\s+done\s*$/;
    assert.match(await output.innerText(), text);
    assert.equal(await tooWide(page), 0);
    assert.deepEqual(await findings(page), []);
    await page.screenshot({ path: `${screenshots}/console-log-phone-${colorScheme}.png`, fullPage: true });
    // The bucket has lost the second attempt's first piece.
    const { pathname } = new URL(fetched[1].url());
    await page.route(`**${pathname}?*`, async (route) => route.fulfill({ response: await route.fetch(), status: 404, body: "" }));
    await page.reload();
    await has("done\n");
    assert.match(await output.innerText(), /Attempt 2 · .*\s+\[25 B are not there any more\]\s+\[32 bytes/);
    await context.close();
  });
}

test("a log that is gone says so, one that can't be read now is read later, and a job that is deleted has none", async () => {
  const id = create();
  const miner = await claim(stack.env, id);
  await miner.print("hello\n");
  const { page, context, log, has, listed } = await atJob(id);
  await has("hello\n");
  // Its URL has ended before its time: it is asked for anew.
  let ended = null;
  await page.route(`${stack.env.JOBCHUTE_AWS}/**`, (route) => {
    ended ??= route.request().url();
    return route.request().url() === ended ? route.fulfill({ status: 403 }) : route.continue();
  });
  await page.reload();
  await page.getByRole("alert").getByText("What the job printed can't be read now.").waitFor();
  await has("hello\n");
  assert.ok(!(await page.getByRole("alert").isVisible()));

  await miner.complete({ n: 1 });
  const none = { chunks: [], next: null, log_bytes: null };
  await page.route(`**/jobs/${id}/logs*`, (route) => route.fulfill({ json: none }), { times: 1 });
  await page.reload();
  await log.getByText("What it printed is not there any more.").waitFor();
  assert.ok(!(await log.getByRole("button").first().isVisible()));
  const { length } = listed;
  for (const _ of "ab") await page.waitForResponse((answer) => answer.url().endsWith("/jobs?"));
  assert.equal(listed.length, length);
  assert.deepEqual(await findings(page), []);

  const other = create();
  await (await claim(stack.env, other)).print("hello again\n");
  await page.locator(`[data-job="${other}"]`).click();
  await has("hello again\n");
  jobchute(stack.env, "delete", other);
  await page.locator("#job").getByRole("heading", { name: "This job is gone" }).waitFor();
  assert.ok(!(await log.isVisible()));
  assert.ok(!(await page.content()).includes("hello"));
  await context.close();
});

test("what the command of `jobchute work` prints is there when the job is over", async () => {
  const id = create();
  await jobchuteBeside(stack.env, "work", "--chute", stack.env.JOBCHUTE_CHUTE, "--once", "--", "sh", "-c", "echo begun; echo 'CUDA out of memory' >&2; exit 1");
  const { context, log, output } = await atJob(id);
  await log.getByText(/^All 2\d B/).waitFor();
  assert.match(await output.textContent(), /begun\n/);
  assert.match(await output.textContent(), /CUDA out of memory\n/);
  await context.close();
});

test("many pieces are listed page by page, and those of old URLs are listed again", async () => {
  const id = create();
  const miner = await claim(stack.env, id);
  for (let count = 0; count < 120; count += 1) await miner.print(`piece ${count}\n`);
  const { page, context, listed, log, output, has } = await atJob(id);
  await has("piece 119\n");
  assert.equal(listed.length, 2);
  // A hundred are on the page at most.
  assert.equal(await output.textContent(), Array.from({ length: 99 }, (_, index) => `piece ${21 + index}\n`).join(""));
  await page.clock.install();
  await page.clock.fastForward("20:00");
  await log.getByRole("button", { name: "Show what came before" }).click();
  await has("piece 19\n");
  assert.equal(listed.length, 3);
  // From the first that is wanted: ten chunks are before it.
  assert.match(new URL(listed[2].url()).searchParams.get("after"), /^000001\/000000081920-/);
  await context.close();
});

/** The first request to the bucket for each piece, by its path, in the order of the pieces. */
const paths = (fetched) => [...new Set(fetched.map((it) => new URL(it.url()).pathname))].sort();

test("a piece that can't be read has a mark in its place: the others are read once, and it is tried ever more seldom, then by who asks", async () => {
  const { page, context, miner, log, output, has, fetched, listed, looks } = await running();
  await miner.print("one\n");
  await miner.print("two\n");
  await miner.print("three\n");
  await has("three\n");
  const [, bad] = paths(fetched);
  let isBad = true;
  await page.route(`**${bad}?*`, (route) => (isBad ? route.fulfill({ status: 503 }) : route.continue()));
  await page.clock.install();
  fetched.length = 0;
  await page.reload();
  await has("three\n");
  assert.match(await output.innerText(), /^one\s+\[4 B could not be read\] Try again\s+three\s*$/);
  await page.getByRole("alert").getByText("What the job printed can't be read now.").waitFor();
  assert.deepEqual(await findings(page), []);
  // What comes is shown all the same, and looks at the job are no tries.
  const tries = () => fetched.filter((it) => it.url().includes(bad)).length;
  await miner.print("four\n");
  await has("four\n");
  await looks(1);
  assert.equal(tries(), 1);
  assert.equal(fetched.length, 4);

  const retried = async (seconds) => {
    const asked = page.waitForResponse((it) => it.url().includes(bad));
    await page.clock.fastForward(seconds * 1000);
    await asked;
  };
  await miner.complete({ n: 1 });
  await page.locator("#job").getByText("Complete", { exact: true }).waitFor();
  const { length } = listed;
  let count = tries();
  for (const seconds of [6, 11, 22, 44, 88, 176, 330].slice(count - 1)) {
    await retried(seconds);
    count += 1;
    // Half of the next pause has no try.
    const looked = page.waitForResponse((answer) => answer.url().endsWith("/jobs?"));
    await page.clock.fastForward(seconds * 900);
    await looked;
    assert.equal(tries(), count);
  }
  assert.equal(count, 8);
  // One listing at most for each, since its URL may have ended.
  assert.ok(listed.length - length <= 7, `${listed.length - length}`);
  // It is over: nobody asks for it any more.
  for (const _ of "ab") {
    const looked = page.waitForResponse((answer) => answer.url().endsWith("/jobs?"));
    await page.clock.fastForward("20:00");
    await looked;
  }
  assert.deepEqual([tries(), fetched.length], [8, 11]);

  const again = log.getByRole("button", { name: "Try again: 4 B could not be read" });
  await again.focus();
  await page.keyboard.press("Enter");
  await page.waitForFunction(() => document.activeElement.textContent === "Try again");
  assert.equal(tries(), 9);
  isBad = false;
  await page.keyboard.press("Enter");
  await has("two\n");
  assert.equal(await output.textContent(), "one\ntwo\nthree\nfour\n");
  assert.equal(await page.evaluate(() => document.activeElement.id), "log-text");
  assert.ok(!(await page.getByRole("alert").isVisible()));
  await context.close();
});

test("a chunk that is listed late is shown where it belongs, and until then nobody is told that this is all", async () => {
  const { page, context, id, miner, log, output, has, listed } = await running();
  let isLate = true;
  await page.route(`**/jobs/${id}/logs*`, async (route) => {
    const response = await route.fetch();
    const json = await response.json();
    const late = json.chunks.findIndex((it) => it.size === 5);
    if (isLate && late >= 0) json.chunks.splice(late, 1);
    await route.fulfill({ response, json });
  });
  await miner.print("first\n");
  await has("first\n");
  await miner.print("late\n");
  await miner.print("last one\n");
  await has("last one\n");
  await log.getByText(/^15 B, and more on its way · /).waitFor();
  await miner.complete({ n: 1 });
  await page.locator("#job").getByText("Complete", { exact: true }).waitFor();
  isLate = false;
  await has("late\n");
  assert.equal(await output.textContent(), "first\nlate\nlast one\n");
  await log.getByText(/^All 20 B · /).waitFor();
  const { length } = listed;
  for (const _ of "abc") await page.waitForResponse((answer) => answer.url().endsWith("/jobs?"));
  assert.equal(listed.length, length);
  await context.close();
});

test("two chunks of the same millisecond keep their own URLs when they are listed again", async () => {
  const id = create();
  const miner = await claim(stack.env, id);
  for (const printed of ["one\n", "two\n", "three\n"]) await miner.print(printed);
  const { page, context, output, has } = await atJob(id);
  await has("three\n");
  let isBad = true;
  await page.route(`${stack.env.JOBCHUTE_AWS}/**`, (route) => (isBad ? route.fulfill({ status: 403 }) : route.continue()));
  await page.route(`**/jobs/${id}/logs*`, async (route) => {
    const response = await route.fetch();
    const json = await response.json();
    for (const chunk of json.chunks) chunk.at = json.chunks[0].at;
    await route.fulfill({ response, json });
  });
  await page.reload();
  await page.getByRole("alert").getByText("What the job printed can't be read now.").waitFor();
  isBad = false;
  await has("three\n");
  assert.equal(await output.textContent(), "one\ntwo\nthree\n");
  await context.close();
});
