// The console: the files that go with a new job, from somebody's disk to the bucket and into the arguments.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { browser, stack } from "./setup.js";
import { findings, newAccounts, openNewJob, screenshots } from "./stack.js";

const folder = mkdtempSync(join(tmpdir(), "jobchute-"));
/** A file that goes in parts. */
const large = join(folder, "large.bin");
before(() => {
  writeFileSync(large, "");
  truncateSync(large, (64 << 20) + 5);
});
after(() => rmSync(folder, { recursive: true }));

const newJob = (args, options, env) => openNewJob(browser, stack, args, options, env);
const wrong = (page, field) => page.locator(`#${field}-wrong`).innerText();
/** Chooses a file of this name and text, or one of the disk's. */
const choose = (page, name, text) => page.getByLabel("Input files").setInputFiles({ name, mimeType: "", buffer: Buffer.from(text) });
const chooseLarge = (page) => page.getByLabel("Input files").setInputFiles(large);
const isThere = (page, name) => page.getByRole("button", { name: `Put into the arguments: ${name}` }).waitFor({ timeout: 120_000 });

/** Has the bucket answer by `handle`, which is told a part's number. */
function atBucket(page, handle) {
  return page.route(`${stack.env.JOBCHUTE_AWS}/**`, (route) => {
    const { url, method } = { url: route.request().url(), method: route.request().method() };
    return method === "PUT" ? handle(route, Number(new URL(url).searchParams.get("partNumber"))) : route.continue();
  });
}

/** The requests for a place, new or known, as `POST` and `PUT`. */
function placesAsked(page) {
  const all = [];
  page.on("request", (it) => new URL(it.url()).pathname.startsWith("/inputs") && all.push(it));
  return all;
}

test("a file is sent, takes the place that the arguments keep for it, and belongs to the job", async () => {
  const { page, context, foreign, complaints, requests, create } = await newJob('{"scene": "@teapot.obj", "n": 1.10}');
  const rows = page.locator("#inputs li");
  await choose(page, "teapot.obj", "v 0 0 0");
  const place = page.getByRole("button", { name: "Put into the arguments: teapot.obj" });
  await place.waitFor();
  await create();
  assert.match(await wrong(page, "args"), /"@teapot\.obj" stands for a file/);
  await place.click();
  const area = page.getByLabel("Arguments, a JSON object");
  const typed = await area.inputValue();
  assert.match(typed, /^\{"scene": "jobchute:\/\/inputs\/[0-9a-f-]{36}", "n": 1\.10\}$/);

  // The same file again is there already: nothing is sent.
  const sent = foreign.length;
  await choose(page, "teapot.obj", "v 0 0 0");
  await rows.nth(1).getByText("jobchute://inputs/").waitFor();
  assert.equal(foreign.length, sent);
  // Without a place of its own, the uri replaces what is selected.
  await area.evaluate((it) => it.setSelectionRange(it.value.indexOf("1.10"), it.value.indexOf("1.10") + 4));
  await rows.nth(1).getByRole("button", { name: "Put into the arguments" }).click();
  assert.match(await area.inputValue(), /^\{"scene": "(jobchute:\/\/inputs\/[0-9a-f-]{36})", "n": "\1"\}$/);
  await page.screenshot({ path: `${screenshots}/console-create.png`, fullPage: true });
  assert.deepEqual(await findings(page), []);
  await create();
  const job = page.locator("#job");
  await job.locator("summary").click();
  await job.getByText("Inputs (1)").waitFor();
  assert.match(await job.innerText(), /teapot\.obj\s+7 B/);
  assert.equal(requests.length, 1);
  assert.ok(foreign.length && foreign.every((url) => url.startsWith(stack.env.JOBCHUTE_AWS)), foreign.join());
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a file takes the place of whole strings that are no keys, however they are spelt", async () => {
  const rest = '"@teapot.obj": "say \\"@teapot.obj", "n": 1.10';
  const { page, context, requests, create } = await newJob(`{${rest}, "all": ["@teapot.obj", "\\u0040teapot.obj" ]}`);
  await choose(page, "teapot.obj", "v 0 0 0");
  await page.getByRole("button", { name: "Put into the arguments: teapot.obj" }).click();
  const typed = await page.getByLabel("Arguments, a JSON object").inputValue();
  const uri = typed.match(/jobchute:\/\/inputs\/[0-9a-f-]{36}/)?.[0];
  assert.equal(typed, `{${rest}, "all": ["${uri}", "${uri}" ]}`);
  await create();
  await page.locator("#job").getByText("Pending").waitFor();
  assert.equal(requests[0].postData(), typed);
  await context.close();
});

test("a large file goes in parts, and after a failure only the missing ones are sent again", async () => {
  const { page, context } = await newJob();
  const sent = [];
  await atBucket(page, (route, number) => {
    sent.push(number);
    return number === 2 && sent.filter((it) => it === 2).length === 1 ? route.abort() : route.continue();
  });
  await chooseLarge(page);
  await isThere(page, "large.bin");
  const parts = Math.max(...sent);
  assert.ok(parts > 2, sent.join());
  assert.equal(sent.length, parts + 1, sent.join());
  assert.equal(sent.filter((it) => it === 2).length, 2, sent.join());
  await context.close();
});

/** Has the page ask for six parts, and see the target as `seen` has it. */
function inSixParts(page, seen = (target) => target) {
  return page.route(/\/inputs(\/[0-9a-f-]+)?$/, async (route) => {
    const declared = route.request().postDataJSON();
    const response = await route.fetch(declared ? { postData: { ...declared, part_size: 11 << 20 } } : {});
    const json = await response.json();
    await route.fulfill({ response, json: { ...json, upload: json.upload && seen(json.upload) } });
  });
}

test("an upload goes on for as long as parts arrive between its failures", async () => {
  const { page, context } = await newJob("", {}, { ...stack.env, ...newAccounts(stack.env) });
  await inSixParts(page);
  const asked = placesAsked(page);
  // Of what is sent to each target, the first part arrives, and no other.
  const targets = new Set();
  await atBucket(page, (route) => {
    const isFirst = !targets.has(asked.length);
    targets.add(asked.length);
    return isFirst ? route.continue() : route.abort();
  });
  await chooseLarge(page);
  const end = page.locator("#inputs").getByText(/was not sent|jobchute:/);
  await end.waitFor({ timeout: 120_000 });
  assert.match(await end.innerText(), /jobchute:/);
  assert.equal(targets.size, 6);
  await context.close();
});

test("parts are not begun with a URL that is about to end, and each is sent once", async () => {
  const { page, context } = await newJob("", {}, { ...stack.env, ...newAccounts(stack.env) });
  await inSixParts(page, (target) => ({ ...target, expires_at: new Date().toISOString() }));
  const asked = placesAsked(page);
  const sent = [];
  await atBucket(page, (route, number) => {
    sent.push([asked.length, number]);
    return route.continue();
  });
  await chooseLarge(page);
  await isThere(page, "large.bin");
  // Four at the same time are begun with each target.
  assert.deepEqual(sent.map(([target]) => target), [1, 1, 1, 1, 2, 2]);
  assert.deepEqual(sent.map(([, number]) => number).sort(), [1, 2, 3, 4, 5, 6]);
  await context.close();
});

test("a try after a failure goes on with the same input, and begins another only where that is gone", async () => {
  const { page, context } = await newJob();
  // As of a file that is too large for it, nobody knows the hash.
  await page.evaluate(() => Object.defineProperty(crypto, "subtle", { value: undefined }));
  const asked = placesAsked(page);
  const sent = [];
  await atBucket(page, (route, number) => {
    sent.push(number);
    return number === 2 && sent.filter((it) => it === 2).length === 1 ? route.abort() : route.continue();
  });
  const refuseNext = (status) => page.route("**/inputs/*", (route) => route.fulfill({ status, json: { detail: "Not now" } }), { times: 1 });
  await refuseNext(403);
  await chooseLarge(page);
  await page.locator("#inputs").getByText("was not sent. Not now").waitFor({ timeout: 120_000 });
  await page.getByRole("button", { name: "Try again: large.bin" }).click();
  await isThere(page, "large.bin");
  assert.equal(asked.filter((it) => it.method() === "POST").length, 1);
  assert.equal(sent.length, Math.max(...sent) + 1, sent.join());

  await page.unroute(`${stack.env.JOBCHUTE_AWS}/**`);
  await page.route(`${stack.env.JOBCHUTE_AWS}/**`, (route) => route.abort(), { times: 1 });
  await refuseNext(403);
  await choose(page, "small.bin", "small");
  await page.locator("#inputs").getByText("was not sent. Not now").waitFor();
  await refuseNext(404);
  await page.getByRole("button", { name: "Try again: small.bin" }).click();
  await isThere(page, "small.bin");
  assert.equal(asked.filter((it) => it.method() === "POST").length, 3);
  await context.close();
});

test("an upload that stands still for a minute is tried again", async () => {
  const { page, context } = await newJob();
  let held;
  const isHeld = new Promise((resolve) => (held = resolve));
  let sent = 0;
  await atBucket(page, (route) => ((sent += 1) === 1 ? held() : route.continue()));
  await page.clock.install();
  await choose(page, "still.bin", "1");
  await isHeld;
  await page.clock.fastForward(60_000);
  await isThere(page, "still.bin");
  assert.equal(sent, 2);
  await context.close();
});

test("what is sent with a former key neither signs out who came after, nor goes on with theirs", async () => {
  const { page, context } = await newJob("{}");
  const other = newAccounts(stack.env);
  const asked = placesAsked(page);
  let held;
  const isHeld = new Promise((resolve) => (held = resolve));
  await page.route("**/inputs", (route) => (route.request().postDataJSON().filename === "first.bin" ? held(route) : route.continue()));
  await choose(page, "first.bin", "1");
  const route = await isHeld;
  await choose(page, "second.bin", "2");
  await page.route("**/jobs/*/run", (it) => it.fulfill({ status: 401, json: { detail: "Token expired." } }), { times: 1 });
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByRole("alert").getByText("does not know this key").waitFor();
  await page.getByLabel("API key or JWT").fill(other.JOBCHUTE_KEY);
  await page.keyboard.press("Enter");
  await page.getByRole("link", { name: "New job" }).click();
  await route.fulfill({ status: 401, json: { detail: "Token expired." } });
  const rows = page.locator("#inputs li");
  await rows.nth(0).getByText("was not sent. Token expired.").waitFor();
  await rows.nth(1).getByText("was not sent. The key has changed meanwhile.").waitFor();
  assert.ok(await page.getByRole("heading", { name: "New job" }).isVisible());
  assert.equal(asked.length, 1);
  await page.getByRole("button", { name: "Try again: second.bin" }).click();
  await isThere(page, "second.bin");
  assert.equal(await asked.at(-1).headerValue("authorization"), `Bearer ${other.JOBCHUTE_KEY}`);
  await context.close();
});

test("an upload is cancelled, one that failed is tried again, and one waits for the other", async () => {
  const { page, context } = await newJob();
  const bucket = `${stack.env.JOBCHUTE_AWS}/**`;
  // Until it is cancelled.
  await page.route(bucket, () => {});
  const begun = page.waitForRequest((it) => it.url().includes("first.bin"));
  await choose(page, "first.bin", "1");
  await choose(page, "second.bin", "2");
  const aborted = page.waitForEvent("requestfailed", (it) => it.url().includes("first.bin"));
  const rows = page.locator("#inputs li");
  await rows.nth(0).getByText("is sent").waitFor();
  await rows.nth(1).getByText("waits").waitFor();
  assert.deepEqual(await findings(page), []);
  await begun;
  await page.getByRole("button", { name: "Cancel: first.bin" }).click();
  await aborted;
  await page.unroute(bucket);
  await page.getByRole("button", { name: "Put into the arguments: second.bin" }).waitFor();
  assert.equal(await rows.count(), 1);

  const refusal = { detail: [{ type: "value_error", loc: ["body", "filename"], msg: "Filename has a control character" }] };
  await page.route("**/inputs", (route) => route.fulfill({ status: 422, json: refusal }), { times: 1 });
  await choose(page, "<img src=x onerror=alert(1)>\u202Egpj.exe", "3");
  await rows.nth(1).getByText("was not sent. Filename has a control character").waitFor();
  assert.match(await rows.nth(1).innerText(), /<img src=x onerror=alert\(1\)>\\u202egpj\.exe/);
  await page.getByRole("button", { name: "Try again" }).click();
  await rows.nth(1).getByRole("button", { name: "Put into the arguments" }).or(rows.nth(1).getByText("was not sent")).waitFor();
  await page.getByRole("button", { name: "Remove: second.bin" }).click();
  await rows.nth(1).waitFor({ state: "detached" });
  await context.close();
});

test("files are dropped on the page, and one that misses the form is not opened", async () => {
  const { page, context } = await newJob();
  const drop = async (selector) => {
    const data = await page.evaluateHandle(() => {
      const transfer = new DataTransfer();
      transfer.items.add(new File(["dropped"], "dropped.txt"));
      return transfer;
    });
    for (const type of ["dragover", "drop"]) await page.dispatchEvent(selector, type, { dataTransfer: data });
  };
  await drop("#drop");
  await page.getByRole("button", { name: "Put into the arguments: dropped.txt" }).waitFor();
  await page.getByRole("link", { name: "Jobchute" }).click();
  await page.locator("#create").waitFor({ state: "hidden" });
  await drop("#list");
  assert.equal(await page.locator("#inputs li").count(), 1);
  await context.close();
});
