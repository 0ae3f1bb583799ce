// The console: a job's life as its owner sees it, by mouse, by keyboard and on a phone.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { pause } from "../../functions/docs/assets/api.js";
import { browser, stack } from "./setup.js";
import { claim, findings, jobchute, jobchuteBeside, newAccounts, openConsole, openPage, screenshots } from "./stack.js";

const create = () => jobchute(stack.env, "create", stack.env.JOBCHUTE_CHUTE, "run", '{"scene":"teapot"}');

/** A miner for one job, which goes on when `go` exists: a test decides when. */
function work(script) {
  return jobchuteBeside(stack.env, "work", "--chute", stack.env.JOBCHUTE_CHUTE, "--once", "--", "sh", "-c", script);
}

const signedIn = (options, env) => openConsole(browser, stack, options, env);

test("a job is watched from pending to complete, and its file downloaded", async () => {
  const { page, context, foreign, complaints } = await signedIn();
  await page.getByText("No jobs here.").waitFor();
  const id = create();
  const entry = page.locator(`[data-job="${id}"]`);
  await entry.click();
  const job = page.locator("#job");
  await job.getByText("Pending").waitFor();
  assert.match(await entry.innerText(), /anything · run\s+Pending/);

  const miner = await claim(stack.env, id);
  await job.getByText("Running", { exact: true }).waitFor();
  await miner.progress(0.4);
  await job.getByRole("progressbar").waitFor();
  await page.screenshot({ path: `${screenshots}/console-running.png` });
  await miner.complete({ frames: 42 }, { "frames.txt": "forty-two frames" });
  await job.getByText("Complete", { exact: true }).waitFor();
  await entry.getByText("Complete").waitFor();
  assert.match(await job.innerText(), /frames\.txt\s+16 B/);
  assert.match(await job.innerText(), /"frames": 42/);
  await page.screenshot({ path: `${screenshots}/console.png` });

  const arrives = page.waitForEvent("download");
  await job.getByRole("button", { name: "Download: frames.txt" }).click();
  const download = await arrives;
  assert.equal(download.suggestedFilename(), "frames.txt");
  assert.equal(readFileSync(await download.path(), "utf8"), "forty-two frames");
  // The file comes from S3; everything else from the API.
  assert.equal(foreign.filter((url) => !url.startsWith(stack.env.JOBCHUTE_AWS)).length, 0, foreign.join());
  assert.deepEqual(complaints, []);
  await context.close();
});

const PLANET = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 150" width="480" height="150">
  <defs>
    <radialGradient id="lit" cx="0.35" cy="0.3" r="0.8">
      <stop offset="0" stop-color="#ffe0a3"/><stop offset="0.5" stop-color="#d9633b"/><stop offset="1" stop-color="#2a0f2e"/>
    </radialGradient>
    <linearGradient id="sky" x2="0" y2="1"><stop offset="0" stop-color="#0b1026"/><stop offset="1" stop-color="#26355f"/></linearGradient>
  </defs>
  <rect width="480" height="150" fill="url(#sky)"/>
  <path d="M40 40h1M95 110h1M150 25h1M400 50h1M440 120h1M350 130h1M70 140h1M420 20h1" stroke="#fff" stroke-width="2"/>
  <g transform="rotate(-14 240 75)" fill="none" stroke="#e8c9a0" stroke-width="7">
    <path d="M130 75a110 22 0 0 1 220 0" opacity="0.7"/>
    <circle cx="240" cy="75" r="54" fill="url(#lit)" stroke="none"/>
    <path d="M130 75a110 22 0 0 0 220 0"/>
  </g>
</svg>`;

// `npm run screenshot` writes the README's picture with it.
test("jobs in different states stand in one list, and a finished one shows its result and files", async () => {
  const env = { ...stack.env, ...newAccounts(stack.env) };
  const { page, context, complaints } = await signedIn({ viewport: { width: 1200, height: 800 } }, env);
  const jobs = {};
  const made = async (state, args, ...labels) => {
    const query = new URLSearchParams(labels.map((label) => ["label", label]));
    const headers = { authorization: `Bearer ${env.JOBCHUTE_KEY}` };
    const url = `${env.JOBCHUTE_URL}/jobs/${env.JOBCHUTE_CHUTE}/run?${query}`;
    jobs[state] = (await (await fetch(url, { method: "POST", headers, body: args })).json()).job_id;
    return state === "Pending" ? null : claim(env, jobs[state]);
  };
  await (await made("Error", '{"scene":"city","samples":4096}', "nightly")).fail("CUDA out of memory");
  const complete = await made("Complete", '{"scene":"planet","samples":512}', "nightly", "for review");
  const files = { "planet.svg": PLANET, "depth/planet.exr": Buffer.alloc(90211) };
  await complete.complete({ samples: 512, seconds: 148.2, noise: 0.013 }, files, { "planet.svg": "image/svg+xml" });
  await made("Running", '{"scene":"forest","samples":512}');
  await page.locator(`[data-job="${jobs.Running}"]`).getByText("Running").waitFor();
  await made("Pending", '{"scene":"harbour"}');

  for (const [state, id] of Object.entries(jobs)) await page.locator(`[data-job="${id}"]`).getByText(state).waitFor();
  await page.locator(`[data-job="${jobs.Complete}"]`).click();
  const job = page.locator("#job");
  await job.getByRole("button", { name: "Show: planet.svg" }).click();
  await page.waitForFunction(() => document.querySelector("#job img")?.complete);
  assert.match(await job.innerText(), /depth\/planet\.exr/);
  assert.match(await job.innerText(), /"noise": 0\.013/);
  await page.screenshot({ path: process.env.SCREENSHOT ?? `${screenshots}/console-states.png` });
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a job is deleted by keyboard, and only after a second thought", async () => {
  const id = create();
  const { page, context, complaints } = await signedIn();
  const entry = page.locator(`[data-job="${id}"]`);
  await entry.focus();
  await page.keyboard.press("Enter");
  const remove = page.getByRole("button", { name: "Delete…" });
  await remove.focus();
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  await page.screenshot({ path: `${screenshots}/console-delete.png` });
  // The safe answer has the focus.
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Keep it");
  await page.keyboard.press("Escape");
  assert.ok(await entry.isVisible());

  await remove.focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await entry.waitFor({ state: "detached" });
  assert.ok(!jobchute(stack.env, "list").includes(id));
  assert.deepEqual(complaints, []);
  await context.close();
});

test("on a phone in the dark one sees the list, or one job", async () => {
  const id = create();
  await work("echo 'CUDA out of memory' >&2; exit 1");
  const { page, context } = await signedIn({ colorScheme: "dark", viewport: { width: 390, height: 844 } });
  await page.locator(`[data-job="${id}"]`).waitFor();
  await page.screenshot({ path: `${screenshots}/console-phone-list.png` });
  await page.locator(`[data-job="${id}"]`).click();
  await page.getByText("CUDA out of memory").waitFor();
  assert.ok(!(await page.locator("#list").isVisible()));
  await page.screenshot({ path: `${screenshots}/console-phone-job.png` });
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wider <= 0, `${wider} pixels too wide`);
  await page.getByRole("link", { name: "All jobs" }).click();
  await page.locator("#list").waitFor();
  await context.close();
});

test("a key stays in its tab, and a wrong one is told", async () => {
  const { page, context } = await signedIn();
  await page.reload();
  await page.getByRole("heading", { name: "My jobs" }).waitFor();
  const stored = await page.evaluate(() => [localStorage.length, document.cookie, location.href]);
  assert.deepEqual(stored, [0, "", `${stack.url}/console`]);
  const other = await context.newPage();
  await other.goto("/console");
  await other.getByLabel("API key or JWT").fill("cpk_wrong");
  await other.screenshot({ path: `${screenshots}/console-sign-in.png` });
  await other.getByRole("button", { name: "Show my jobs" }).click();
  await other.getByRole("alert").getByText("does not know this key").waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await context.close();
});

test("the dialog is about the job that it names, and ends with a look at another", async () => {
  const [first, second] = [create(), create()];
  const { page, context } = await signedIn();
  const job = page.locator("#job");
  await page.locator(`[data-job="${first}"]`).click();
  await job.getByText(first).waitFor();
  await page.locator(`[data-job="${second}"]`).click();
  await job.getByText(second).waitFor();
  await job.getByRole("button", { name: "Delete…" }).click();
  await page.getByRole("dialog").getByText(second).waitFor();
  await page.goBack();
  await job.getByText(first).waitFor();
  assert.ok(!(await page.getByRole("dialog").isVisible()));

  // Even a click that was on its way.
  await page.locator(`[data-job="${second}"]`).click();
  await job.getByText(second).waitFor();
  await job.getByRole("button", { name: "Delete…" }).click();
  await page.goBack();
  await job.getByText(first).waitFor();
  await page.evaluate(() => document.getElementById("confirm-yes").click());
  await page.locator(`[data-job="${second}"]`).waitFor({ state: "detached" });
  const left = jobchute(stack.env, "list");
  assert.ok(left.includes(first) && !left.includes(second), left);
  await context.close();
});

test("what does not change stays where it is, with the focus", async () => {
  const id = create();
  const { page, context } = await signedIn();
  const entry = page.locator(`[data-job="${id}"]`);
  await entry.evaluate((it) => (it.mark = true));
  await entry.focus();
  await page.locator(`[data-job="${create()}"]`).waitFor();
  assert.ok(await entry.evaluate((it) => it.mark && it === document.activeElement));

  await page.keyboard.press("Enter");
  await page.locator("#job").getByText(id).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.tagName), "H2");
  await page.getByRole("button", { name: "Delete…" }).focus();
  await page.locator(`[data-job="${create()}"]`).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Delete…");
  await page.getByRole("link", { name: "Jobchute" }).click();
  await page.locator(`[data-job="${id}"]:focus`).waitFor();
  await context.close();
});

test("what went wrong stays until it goes right", async () => {
  const id = create();
  const { page, context } = await signedIn();
  await page.route("**/jobs/*", (route) =>
    route.request().method() === "DELETE" ? route.fulfill({ status: 500, json: { detail: "No luck" } }) : route.continue(),
  );
  await page.locator(`[data-job="${id}"]`).click();
  await page.getByRole("button", { name: "Delete…" }).click();
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.getByRole("alert").getByText("No luck").waitFor();
  // The list and the job are asked for meanwhile.
  await page.locator(`[data-job="${create()}"]`).waitFor();
  await page.waitForResponse((answer) => answer.url().endsWith(`${id}?view=status`));
  await page.waitForResponse((answer) => answer.url().endsWith("/jobs?"));
  assert.equal(await page.getByRole("alert").innerText(), "No luck");
  await page.unrouteAll();
  await page.getByRole("button", { name: "Delete…" }).click();
  await page.getByRole("button", { name: "Delete", exact: true }).click();
  await page.locator(`[data-job="${id}"]`).waitFor({ state: "detached" });
  assert.ok(!(await page.getByRole("alert").isVisible()));
  await context.close();
});

test("a job that is gone says so, and nothing is left for who signs in next", async () => {
  const id = create();
  const { page, context } = await signedIn();
  await page.locator(`[data-job="${id}"]`).click();
  await page.locator("#job").getByText(id).waitFor();
  jobchute(stack.env, "delete", id);
  await page.locator("#job").getByRole("heading", { name: "This job is gone" }).waitFor();
  await page.locator(`[data-job="${id}"]`).waitFor({ state: "detached" });
  assert.ok(!(await page.getByRole("alert").isVisible()));

  await page.locator(`[data-job="${create()}"]`).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  assert.equal(await page.locator("#list li").count(), 0);
  assert.equal(await page.locator("#job").innerHTML(), "");
  await context.close();
});

test("older jobs are shown as they are now, and survive a page without jobs", async () => {
  const old = create();
  const recent = create();
  const { page, context } = await signedIn();
  const list = (answer) => page.route("**/jobs?*", answer);
  await list((route) => route.continue({ url: route.request().url().replace("?", "?limit=1&") }));
  const entry = page.locator(`[data-job="${old}"]`);
  await page.reload();
  await page.locator(`[data-job="${recent}"]`).waitFor();
  assert.ok(!(await entry.isVisible()));
  await page.getByRole("button", { name: "Show older jobs" }).click();
  await entry.getByText("Pending").waitFor();
  // A miner takes the oldest first.
  while (!jobchute(stack.env, "list").match(`${old}.*complete`)) await work("true");
  await entry.getByText("Complete").waitFor();

  await page.unrouteAll();
  await list((route) => route.fulfill({ json: { jobs: [], next_cursor: "1.x" } }));
  for (const _ of "ab") await page.waitForResponse((answer) => answer.url().endsWith("/jobs?"));
  assert.ok(await entry.isVisible());
  await context.close();
});

test("numbers, the order of keys and characters that nobody sees are shown as they are", async () => {
  const args = '{"10":18446744073709551616,"9":1.0e5,"seed":123456789012345678901234567890}';
  const id = jobchute(stack.env, "create", stack.env.JOBCHUTE_CHUTE, "run", args);
  const name = "invoice\u202Efdp.exe";
  await work(`echo '{"2":9007199254740993,"1":0.10,"text":"\u202Ereversed"}' >"$JOBCHUTE_RESULT"; echo x >"$JOBCHUTE_OUTPUT/${name}"`);
  // A miner takes the oldest first.
  while (!jobchute(stack.env, "list").match(`${id}.*complete`)) await work(`echo x >"$JOBCHUTE_OUTPUT/${name}"`);
  const { page, context, complaints } = await signedIn();
  // What the API answers to a job with such a result.
  await page.route(`**/jobs/${id}`, async (route) => {
    const answer = await route.fetch();
    const sent = args.slice(1, -1);
    const body = (await answer.text())
      .replace(/"job_args":\{[^}]*\}/, () => `"job_args":{${sent}}`)
      .replace(/"result":(null|\{[^}]*\})/, () => '"result":{"2":9007199254740993,"1":0.10,"text":"\u202Ereversed"}');
    await route.fulfill({ response: answer, body });
  });
  await page.locator(`[data-job="${id}"]`).click();
  const job = page.locator("#job");
  await job.getByRole("button", { name: "Download: invoice\\u202efdp.exe" }).waitFor();
  assert.ok(!(await job.innerText()).includes("\u202E"));
  const result = await job.getByRole("region", { name: "Result" }).innerText();
  assert.equal(result, '{\n  "2": 9007199254740993,\n  "1": 0.10,\n  "text": "\\u202ereversed"\n}');
  await job.locator("summary").click();
  const shown = await job.getByRole("region", { name: "Arguments" }).innerText();
  assert.equal(shown, '{\n  "10": 18446744073709551616,\n  "9": 1.0e5,\n  "seed": 123456789012345678901234567890\n}');
  await page.screenshot({ path: `${screenshots}/console-as-written.png` });
  assert.deepEqual(complaints, []);
  await context.close();
});

/** What the page asks of a job, in order: "" is the whole of it. */
function asked(page, id) {
  const all = [];
  page.on("request", (request) => {
    const url = new URL(request.url());
    if (url.pathname === `/jobs/${id}`) all.push(url.search);
  });
  return all;
}

test("a job that goes on is asked for its state, and for what it carries when that is of interest", async () => {
  const id = create();
  const { page, context, complaints } = await signedIn();
  const all = asked(page, id);
  await page.locator(`[data-job="${id}"]`).click();
  const job = page.locator("#job");
  await job.getByText(id).waitFor();
  const miner = await claim(stack.env, id);
  await job.getByText("Running", { exact: true }).waitFor();
  assert.ok(all.length > 1 && all.every((query) => query === "?view=status"), all.join());
  await job.locator("summary").click();
  await job.getByRole("region", { name: "Arguments" }).getByText("teapot").waitFor();
  await miner.progress(0.4);
  await job.getByRole("progressbar").waitFor();
  assert.ok(await job.getByRole("region", { name: "Arguments" }).isVisible());
  assert.equal(all.filter((query) => query === "").length, 1, all.join());
  await miner.complete({ frames: 42 });
  await job.getByRole("region", { name: "Result" }).waitFor();
  await job.getByText("Complete", { exact: true }).waitFor();
  // Once more, or twice: the list may have said at the same time that the job has changed. After that nothing is asked any more.
  const whole = all.filter((query) => query === "").length;
  assert.ok(whole === 2 || whole === 3, all.join());
  await page.waitForResponse((answer) => answer.url().endsWith("/jobs?"));
  const { length } = all;
  for (const _ of "ab") await page.waitForResponse((answer) => answer.url().endsWith("/jobs?"));
  assert.equal(all.length, length, all.join());
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a job is asked for when the API says, and at once when the list says that it has changed", async () => {
  const id = create();
  const { page, context } = await signedIn();
  const all = asked(page, id);
  await page.route(`**/jobs/${id}?view=status`, async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, headers: { ...response.headers(), "retry-after": "300" } });
  });
  await page.locator(`[data-job="${id}"]`).click();
  const job = page.locator("#job");
  await job.getByText("Pending").waitFor();
  for (const _ of "ab") await page.waitForResponse((answer) => answer.url().endsWith("/jobs?"));
  assert.deepEqual(all, ["?view=status"]);
  await claim(stack.env, id);
  await job.getByText("Running", { exact: true }).waitFor();
  assert.deepEqual(all, ["?view=status", "?view=status"]);
  await context.close();
});

test("of megabytes the beginning is shown, and all of it is saved or copied as it is", async () => {
  const id = create();
  await (await claim(stack.env, id)).complete({ n: 1 });
  const { page, context, complaints } = await signedIn({ permissions: ["clipboard-read", "clipboard-write"] });
  const result = `{"first":18446744073709551616,"${"x".repeat(1 << 20)}":[${'"\\"",'.repeat(1 << 19)}1.10]}`;
  await page.route(`**/jobs/${id}`, async (route) => {
    const response = await route.fetch();
    const body = (await response.text()).replace(/"result":\{[^}]*\}/, () => `"result":${result}`);
    await route.fulfill({ response, body });
  });
  await page.locator(`[data-job="${id}"]`).click();
  const job = page.locator("#job");
  const region = job.getByRole("region", { name: "Result" });
  await region.waitFor();
  assert.ok((await region.innerText()).startsWith('{\n  "first": 18446744073709551616,\n  "xxx'));
  await job.getByText("The beginning of 3.5 MiB.").waitFor();
  const size = await page.evaluate(() => document.documentElement.outerHTML.length);
  assert.ok(size < 100_000, `${size} characters`);
  assert.deepEqual(await findings(page), []);
  await page.screenshot({ path: `${screenshots}/console-megabytes.png` });

  const arrives = page.waitForEvent("download");
  await job.getByRole("button", { name: "Download: Result" }).click();
  const download = await arrives;
  assert.equal(download.suggestedFilename(), `${id}-result.json`);
  assert.ok(readFileSync(await download.path(), "utf8") === result);
  await job.getByRole("button", { name: "Copy: Result" }).click();
  await page.getByRole("status").getByText("Result copied").waitFor();
  assert.ok((await page.evaluate(() => navigator.clipboard.readText())) === result);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("what only the bucket has is opened there, and the key does not go with it", async () => {
  const id = create();
  await (await claim(stack.env, id)).complete({ n: 1 });
  const { page, context, complaints } = await signedIn();
  await page.route(`**/jobs/${id}`, async (route) => {
    const response = await route.fetch();
    const body = { ...(await response.json()), result: null, result_url: "https://bucket.example/result?signature=1" };
    await route.fulfill({ response, json: body });
  });
  const headers = [];
  await context.route("https://bucket.example/**", async (route) => {
    headers.push(await route.request().allHeaders());
    await route.fulfill({ json: { n: 1 } });
  });
  await page.locator(`[data-job="${id}"]`).click();
  await page.locator("#job").getByText("Too large to be shown.").waitFor();
  assert.deepEqual(await findings(page), []);
  const opens = context.waitForEvent("page");
  await page.getByRole("button", { name: "Download: Result" }).click();
  await (await opens).getByText('{"n":1}').waitFor();
  assert.deepEqual(headers.map((it) => [it.authorization, it.referer]), [[undefined, undefined]]);
  assert.deepEqual(complaints, []);
  await context.close();
});

for (const colorScheme of ["light", "dark"]) {
  test(`axe-core finds nothing at the sign-in, the list, a job and the dialog, ${colorScheme}`, async () => {
    const id = create();
    await work(`echo '{"a":1}' >"$JOBCHUTE_RESULT"; echo x >"$JOBCHUTE_OUTPUT/x"`);
    const signIn = await openPage(browser, stack.url, "/console", { colorScheme });
    await signIn.page.getByLabel("API key or JWT").waitFor();
    assert.deepEqual(await findings(signIn.page), []);
    await signIn.page.screenshot({ path: `${screenshots}/console-sign-in-${colorScheme}.png` });
    await signIn.context.close();
    const { page, context } = await signedIn({ colorScheme });
    await page.locator(`[data-job="${id}"]`).waitFor();
    assert.deepEqual(await findings(page), []);
    await page.locator(`[data-job="${id}"]`).click();
    await page.locator("#job").getByText(id).waitFor();
    await page.locator("#job summary").click();
    assert.deepEqual(await findings(page), []);
    await page.screenshot({ path: `${screenshots}/console-job-${colorScheme}.png` });
    await page.getByRole("button", { name: "Delete…" }).click();
    await page.getByRole("dialog").waitFor();
    assert.deepEqual(await findings(page), []);
    await context.close();
  });
}

test("what fails is asked for less and less, and as usual when it goes well again", () => {
  const [failed, busy] = [new Error(), { wait: 7000 }];
  const waits = [null, failed, failed, busy, failed, null, failed].map((error) => pause("a", 3000, error));
  assert.deepEqual(waits, [3000, 6000, 12_000, 7000, 48_000, 3000, 6000]);
  // Never more often than when all is well, and at least each five minutes.
  assert.equal(pause("b", 400_000, failed), 400_000);
  for (const _ of Array(20)) pause("b", 3000, failed);
  assert.equal(pause("b", 3000, failed), 300_000);
});
