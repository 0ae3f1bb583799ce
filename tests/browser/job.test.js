// The console: what an owner does with a job and with many, and how a job's labels and files are shown.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { browser, stack } from "./setup.js";
import { claim, findings, jobchute, newAccounts, openConsole, screenshots, tooWide } from "./stack.js";

const create = (env = stack.env, args = '{"scene":"teapot"}', ...options) =>
  jobchute(env, "create", env.JOBCHUTE_CHUTE, "run", args, ...options);

/** The console at a job. */
async function atJob(id, options = {}, env = stack.env) {
  const opened = await openConsole(browser, stack, options, env);
  await opened.page.getByRole("searchbox", { name: "Job id" }).fill(id);
  await opened.page.keyboard.press("Enter");
  const job = opened.page.locator("#job");
  await job.getByText(id, { exact: true }).waitFor();
  return { ...opened, job };
}

test("a job that waits is cancelled, after a second thought", async () => {
  const id = create();
  const { page, context, job, complaints } = await atJob(id);
  await job.getByRole("button", { name: "Cancel…" }).click();
  await page.getByRole("dialog").getByText(`${id}. It ends at once.`).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Let it run");
  assert.deepEqual(await findings(page), []);
  await page.keyboard.press("Escape");
  await job.getByText("Pending").waitFor();
  await job.getByRole("button", { name: "Cancel…" }).click();
  await page.getByRole("button", { name: "Cancel the job" }).click();
  await job.getByText("Cancelled", { exact: true }).waitFor();
  assert.ok(!(await job.getByRole("button", { name: "Cancel…" }).isVisible()));
  assert.deepEqual(complaints, []);
  await context.close();
});

test("of a job that runs, one sees that its miner is told to stop", async () => {
  const id = create();
  await claim(stack.env, id);
  const { page, context, job } = await atJob(id);
  await job.getByRole("button", { name: "Cancel…" }).click();
  await page.getByRole("dialog").getByText("Its miner is told to stop").waitFor();
  await page.getByRole("button", { name: "Cancel the job" }).click();
  await job.getByText("Its miner is told to stop").waitFor();
  assert.ok(!(await job.getByRole("button", { name: "Cancel…" }).isVisible()));
  await context.close();
});

test("a job that failed is retried; one that left files is asked about first", async () => {
  const id = create();
  await (await claim(stack.env, id)).fail("CUDA out of memory");
  const { page, context, job } = await atJob(id);
  await job.getByText("CUDA out of memory").waitFor();
  await job.getByRole("button", { name: "Retry" }).click();
  await job.getByText("Pending").waitFor();
  assert.ok(!(await job.getByText("CUDA out of memory").isVisible()));
  assert.ok(!(await job.getByRole("button", { name: "Retry" }).isVisible()));

  const partial = create();
  await (await claim(stack.env, partial)).complete({ n: 1 }, { "there.txt": "x", "missing.txt": null });
  await page.getByRole("searchbox", { name: "Job id" }).fill(partial);
  await page.keyboard.press("Enter");
  await job.getByText("Partial failure").waitFor();
  await job.getByRole("button", { name: "Retry" }).click();
  await page.getByRole("dialog").getByText("The result and the files of its former run are removed.").waitFor();
  await page.getByRole("button", { name: "Retry", exact: true }).last().click();
  await job.getByText("Pending").waitFor();
  await context.close();
});

test("all failed jobs of the list are retried, until the quota ends", async () => {
  const env = { ...stack.env, ...newAccounts(stack.env) };
  const failed = [create(env), create(env), create(env)];
  for (const id of failed) await (await claim(env, id)).fail("no luck");
  create(env);
  const { page, context } = await openConsole(browser, stack, {}, env);
  const retried = [];
  const quota = "Daily job quota exceeded: chute_job_count=5 total_job_count=5 of job_quota=5 and total_quota=5";
  await page.route("**/jobs/*/retry", (route) => {
    retried.push(route.request().url());
    return retried.length === 2 ? route.fulfill({ status: 429, json: { detail: quota } }) : route.continue();
  });
  await page.getByRole("button", { name: "Retry 3 failed…" }).click();
  const dialog = page.getByRole("dialog");
  await dialog.getByText("Each counts against the day's quota").waitFor();
  await page.screenshot({ path: `${screenshots}/console-retry-all.png` });
  await dialog.getByRole("button", { name: "Retry" }).click();
  await page.getByRole("alert").getByText(`1 of 3 jobs were retried, then: ${quota}`).waitFor();
  assert.equal(retried.length, 2);
  await page.getByRole("button", { name: "Retry 2 failed…" }).click();
  await dialog.getByRole("button", { name: "Retry" }).click();
  await page.getByRole("status").getByText("2 of 2 jobs were retried").waitFor();
  await page.getByRole("button", { name: /Retry \d failed/ }).waitFor({ state: "hidden" });
  assert.ok(!(await page.getByRole("alert").isVisible()));
  assert.equal((await page.locator("#list").getByText("Pending").count()), 4);
  await context.close();
});

test("a job is opened by its id, however it is spelt, and an id of nobody's is told", async () => {
  const id = create();
  const { page, context } = await openConsole(browser, stack);
  const open = async (text) => {
    await page.getByRole("searchbox", { name: "Job id" }).fill(text);
    await page.getByRole("button", { name: "Open" }).click();
  };
  const job = page.locator("#job");
  await open(` ${id.toUpperCase().replaceAll("-", "")} `);
  await job.getByText(id, { exact: true }).waitFor();
  await open("00000000-0000-4000-8000-000000000000");
  await job.getByRole("heading", { name: "There is no such job" }).waitFor();
  await job.getByText("No job of yours has the id 00000000-0000-4000-8000-000000000000").waitFor();
  await open("<b>4711</b>");
  await page.getByRole("alert").getByText("A job's id has 32 digits").waitFor();
  assert.deepEqual(await findings(page), []);
  await context.close();
});

test("labels are shown as text, and filter the list", async () => {
  const hostile = '<img src=x onerror="document.title=1">';
  const id = create(stack.env, "{}", "--label", "nightly", "--label", hostile, "--label", "x".repeat(64));
  const [other, nightly] = [create(), create(stack.env, "{}", "--label", "nightly")];
  const { page, context, complaints } = await openConsole(browser, stack);
  const entry = (id) => page.locator(`[data-job="${id}"]`);
  await entry(id).getByText("nightly").waitFor();
  await entry(other).waitFor();
  await entry(id).click();
  const job = page.locator("#job");
  await job.getByRole("button", { name: "x".repeat(64) }).waitFor();
  assert.ok((await job.innerText()).includes(hostile));
  assert.deepEqual(await findings(page), []);
  await page.screenshot({ path: `${screenshots}/console-labels.png` });
  await job.getByRole("button", { name: "Jobs with the label nightly" }).click();
  await entry(other).waitFor({ state: "detached" });
  await entry(nightly).waitFor();
  await entry(id).click();
  await job.getByRole("button", { name: /<img/ }).click();
  await entry(nightly).waitFor({ state: "detached" });
  assert.equal(await page.getByLabel("With the label").inputValue(), hostile);
  await page.getByLabel("Show").selectOption("Complete");
  await entry(id).waitFor({ state: "detached" });
  await page.getByLabel("Show").selectOption("Pending");
  await entry(id).waitFor();
  assert.equal(await page.locator("#list img, #job img").count(), 0);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a job says until when it waits, and when it is over, until when it is kept", async () => {
  const id = create(stack.env, "{}", "--cancel-after", "2h");
  const { context, job } = await atJob(id);
  const facts = () => job.locator("dl").innerText();
  assert.match(await facts(), /Waits until\s+\d+ \w+ \d+, \d+:\d+ \(in 1 hour\)/);
  assert.doesNotMatch(await facts(), /Kept/);
  jobchute(stack.env, "cancel", id);
  await job.getByText("Cancelled", { exact: true }).waitFor();
  assert.match(await facts(), /Kept until\s+\d+ \w+ \d+, \d+:\d+ \(in 29 days\)/);
  assert.doesNotMatch(await facts(), /Waits/);
  await context.close();
});

/** One red pixel. */
const PNG = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==",
  "base64",
);
const SVG = `<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40" onload="parent.document.title='ran'">
  <script>parent.document.title = 'ran'; fetch('http://127.0.0.1:9/')</script><rect width="40" height="40" fill="teal"/></svg>`;
/** A tenth of a second of silence. */
function wav() {
  const data = Buffer.alloc(44 + 800, 128);
  data.write("RIFF", 0);
  data.writeUInt32LE(836, 4);
  data.write("WAVEfmt ", 8);
  [[16, 4, 16], [1, 2, 20], [1, 2, 22], [8000, 4, 24], [8000, 4, 28], [1, 2, 32], [8, 2, 34]].forEach(([value, size, at]) =>
    data.writeUIntLE(value, at, size),
  );
  data.write("data", 36);
  data.writeUInt32LE(800, 40);
  return data;
}

test("images, sounds, text and JSON are shown in place, and nothing that an uploader says can run", async () => {
  const id = create();
  const evil = "<script>document.title='ran'</script><img src=x onerror=\"document.title='ran'\">\u202E";
  const files = {
    "pixel.png": PNG,
    "drawing.svg": Buffer.from(SVG),
    "sound.wav": wav(),
    "notes.txt": Buffer.from(evil),
    "data.json": Buffer.from('{"9":1.10,"big":123456789012345678901}'),
    "page.html": Buffer.from(evil),
    "wrong.png": Buffer.from(evil),
    "disguised.txt": Buffer.from(evil),
    "long.log": Buffer.from("line\n".repeat(100_000)),
    "empty.txt": Buffer.from(""),
  };
  const types = { "disguised.txt": "text/html", "drawing.svg": "image/svg+xml", "pixel.png": "image/png" };
  await (await claim(stack.env, id)).complete({ n: 1 }, files, types);
  const { page, context, job, foreign, complaints } = await atJob(id);
  await job.getByText(`Files (${Object.keys(files).length})`).waitFor();
  assert.deepEqual(foreign, []);
  const row = (name) => job.locator(".files li").filter({ hasText: name });
  const show = async (name) => {
    await job.getByRole("button", { name: `Show: ${name}` }).click();
    await job.getByRole("button", { name: `Hide: ${name}` }).waitFor();
  };
  for (const name of ["pixel.png", "drawing.svg"]) {
    await show(name);
    await page.waitForFunction((alt) => document.querySelector(`img[alt="${alt}"]`)?.naturalWidth > 0, name);
  }
  await show("sound.wav");
  await page.waitForFunction(() => document.querySelector("audio")?.duration > 0);
  await show("notes.txt");
  assert.equal(await job.getByRole("region", { name: "Content: notes.txt" }).innerText(), evil.replace("\u202E", "\\u202e"));
  await show("data.json");
  assert.equal(await job.getByRole("region", { name: "Content: data.json" }).innerText(), '{\n  "9": 1.10,\n  "big": 123456789012345678901\n}');
  await show("empty.txt");
  await row("empty.txt").getByText("It is empty.").waitFor();
  await show("long.log");
  await row("long.log").getByText("The beginning of 488.3 KiB.").waitFor();
  await show("wrong.png");
  await row("wrong.png").getByText("can't show it as an image").waitFor();
  for (const name of ["page.html", "disguised.txt"]) {
    assert.equal(await job.getByRole("button", { name: `Show: ${name}` }).count(), 0, name);
    assert.ok(await job.getByRole("button", { name: `Download: ${name}` }).isEnabled(), name);
  }
  assert.deepEqual(await findings(page), []);
  await page.screenshot({ path: `${screenshots}/console-previews.png`, fullPage: true });
  assert.equal(await page.title(), "Jobchute console");
  assert.ok(foreign.length && foreign.every((url) => url.startsWith(stack.env.JOBCHUTE_AWS)), foreign.join());
  const size = await page.evaluate(() => document.documentElement.outerHTML.length);
  assert.ok(size < 100_000, `${size} characters`);
  // Hidden again, nothing of it is left.
  await job.getByRole("button", { name: "Hide: sound.wav" }).click();
  assert.equal(await job.locator("audio").count(), 0);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("the page runs nothing of the bucket, and shows nothing of anybody else", async () => {
  const { page, context } = await openConsole(browser, stack);
  const refused = (name, src) =>
    page.evaluate(
      ([name, src]) =>
        new Promise((resolve) => {
          document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective), { once: true });
          document.body.append(Object.assign(document.createElement(name), { src }));
        }),
      [name, src],
    );
  assert.equal(await refused("script", `${stack.env.JOBCHUTE_AWS}/x.js`), "script-src-elem");
  assert.equal(await refused("iframe", `${stack.env.JOBCHUTE_AWS}/x.html`), "frame-src");
  assert.equal(await refused("img", "https://elsewhere.example/x.png"), "img-src");
  assert.equal(await refused("video", "https://elsewhere.example/x.mp4"), "media-src");
  await context.close();
});

test("the id, the arguments, the result and a file's hash are copied as they are", async () => {
  const args = '{"seed":123456789012345678901234567890,"_disk_gb":11}';
  const id = create(stack.env, args);
  await (await claim(stack.env, id)).complete({ n: 1 }, { "a.txt": Buffer.from("abc") });
  const { page, context, job } = await atJob(id, { permissions: ["clipboard-read", "clipboard-write"] });
  await job.locator("summary").click();
  const copied = async (name) => {
    await job.getByRole("button", { name: `Copy${name}` }).click();
    await page.getByRole("status").getByText(/copied$/).waitFor();
    return page.evaluate(() => navigator.clipboard.readText());
  };
  assert.equal(await copied(": Job id"), id);
  assert.equal(await copied(": Result"), '{"n":1}');
  assert.equal(await copied(" SHA-256: a.txt"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  assert.equal(await copied(": Arguments"), args);
  await context.close();
});

test("usage stands beside the quota, as a bar and in words", async () => {
  const { page, context, complaints } = await openConsole(browser, stack, { colorScheme: "dark" });
  create();
  await page.locator("#list li").first().waitFor();
  await page.getByRole("link", { name: "Usage" }).click();
  const usage = page.locator("#usage");
  await page.locator("#usage-title:focus").waitFor();
  await usage.getByText("anything", { exact: true }).waitFor();
  const words = await usage.getByRole("progressbar").evaluateAll((all) => all.map((it) => it.ariaLabel));
  assert.match(words[0], /^All chutes: \d+ of [\d,]+ jobs$/);
  assert.match(words[1], /^anything: \d+ of [\d,]+ jobs$/);
  assert.match(await usage.innerText(), /The next day begins in \d+ (hours?|minutes?)/);
  assert.deepEqual(await findings(page), []);
  await page.screenshot({ path: `${screenshots}/console-usage.png` });
  assert.deepEqual(complaints, []);

  // What is used up, or was never given.
  const chutes = { "00000000-0000-4000-8000-000000000000": { used: 3, quota: 0 } };
  await page.route("**/usage", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), global: { used: 1234567, quota: 1000000 }, chutes } });
  });
  await page.reload();
  await usage.getByText("1,234,567 of 1,000,000 jobs").first().waitFor();
  await usage.getByText("3 of 0 jobs").first().waitFor();
  assert.deepEqual(await findings(page), []);
  await context.close();
});

test("on a phone a job with labels, inputs and files fits, whatever they are called", async () => {
  const folder = mkdtempSync(join(tmpdir(), "jobchute-"));
  const file = join(folder, `<b>${"i".repeat(200)}`);
  writeFileSync(file, "v 0 0 0");
  const id = create(stack.env, '{"mesh":"@mesh"}', "--label", "l".repeat(64), "--label", "b", "--input", `mesh=${file}`);
  rmSync(folder, { recursive: true });
  const name = `${"w".repeat(120)}.png`;
  await (await claim(stack.env, id)).complete({ n: 1 }, { [name]: PNG });
  const { page, context, job } = await atJob(id, { viewport: { width: 390, height: 844 } });
  await job.locator("summary").click();
  await job.getByText("Inputs (1)").waitFor();
  await job.getByRole("button", { name: `Show: ${name}` }).click();
  await job.getByRole("img").waitFor();
  assert.equal(await tooWide(page), 0);
  assert.deepEqual(await findings(page), []);
  await page.screenshot({ path: `${screenshots}/console-job-phone.png`, fullPage: true });
  await page.getByRole("link", { name: "All jobs" }).click();
  await page.locator("#list li").first().waitFor();
  assert.equal(await tooWide(page), 0);
  await page.screenshot({ path: `${screenshots}/console-list-phone.png` });
  await context.close();
});
