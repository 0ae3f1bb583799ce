// The console: a new job, as somebody types it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, stack } from "./setup.js";
import { findings, jobchute, lose, newAccounts, openConsole, openNewJob, screenshots, startStack, tooWide } from "./stack.js";

const newJob = (args, options, env) => openNewJob(browser, stack, args, options, env);
const wrong = (page, field) => page.locator(`#${field}-wrong`).innerText();

test("below a REST API's stage a job is created and shown", async () => {
  const behind = await startStack(["--front", "rest"]);
  try {
    const { page, context, foreign, complaints, create } = await openNewJob(browser, behind, "{}");
    await create();
    await page.locator("#job").getByText("Pending").waitFor();
    await page.locator("#list li").waitFor();
    assert.deepEqual(foreign, []);
    assert.deepEqual(complaints, []);
    await context.close();
  } finally {
    behind.stop();
  }
});

test("a job is created as it was typed, and once, although the first answer was lost", async () => {
  const env = { ...stack.env, ...newAccounts(stack.env) };
  const args = '{ "10": 18446744073709551616,\n  "9": 1.0e5, "seed": 123456789012345678901234567890 }';
  const { page, context, requests, create } = await newJob(args, {}, env);
  await page.getByLabel("Labels, one on each line").fill("nightly, all\n  caf\u00e9 & tea \n");
  await page.getByLabel("Give up when no miner takes it for").fill("2h");
  await page.route("**/jobs/*/run?*", lose, { times: 1 });
  await create();
  await page.getByRole("alert").getByText("No answer came. Create it again").waitFor();
  // Not even when the page is loaded again meanwhile.
  await page.reload();
  await create();
  const job = page.locator("#job");
  await job.getByText("Pending").waitFor();
  assert.match(await job.innerText(), /nightly, all\s+caf\u00e9 & tea[^]*Waits until\s+.*in 1 hour/);

  const [first, second, ...more] = requests;
  assert.deepEqual([first.postData(), second.postData(), more.length], [args, args, 0]);
  const keys = [first, second].map((it) => it.headers()["idempotency-key"]);
  assert.ok(keys[0].length >= 32 && keys[0] === keys[1], keys.join());
  const { searchParams } = new URL(second.url());
  assert.deepEqual(searchParams.getAll("label"), ["nightly, all", "caf\u00e9 & tea"]);
  assert.equal(searchParams.get("cancel_after"), "2h");
  assert.equal(jobchute(env, "list").split("\n").filter((line) => /pending/.test(line)).length, 1);

  // The next one is another job, even of the same words.
  await page.getByRole("link", { name: "New job" }).click();
  await create();
  await page.locator("#list li").nth(1).waitFor();
  assert.notEqual(requests[2].headers()["idempotency-key"], keys[0]);
  await context.close();
});

test("chutes and methods that were used are suggested", async () => {
  jobchute(stack.env, "create", stack.env.JOBCHUTE_CHUTE, "run");
  const { page, context } = await openConsole(browser, stack);
  await page.locator("#list li").first().waitFor();
  await page.getByRole("link", { name: "New job" }).click();
  const suggested = (field) => page.locator(`#${field} option`).evaluateAll((all) => all.map((it) => [it.value, it.label]));
  assert.deepEqual(await suggested("chutes"), [[stack.env.JOBCHUTE_CHUTE, "anything"]]);
  assert.deepEqual((await suggested("methods")).map(([name]) => name), ["run"]);
  await context.close();
});

test("what is no JSON object is told with its place, and not sent", async () => {
  const { page, context, requests, create } = await newJob();
  const area = page.getByLabel("Arguments, a JSON object");
  for (const [text, said] of [
    ['{"a": 1,\n "b": x}', 'Unexpected "x": line 2, column 7'],
    ['{"a": [1, 2}', 'Unexpected "}": line 1, column 12'],
    ["{'a': 1}", `Unexpected "'": line 1, column 2`],
    ['{"a": [1,,2]}', 'Unexpected ",": line 1, column 10'],
    ['{"a": 01}', 'Unexpected "1": line 1, column 8'],
    ['{"a": "\t"}', 'Unexpected "\\t": line 1, column 8'],
    ['{"a": 1,}', 'Unexpected "}": line 1, column 9'],
    ['{"a": 1', "It ends too early: line 1, column 8"],
    ['{"a": 1} {', 'Unexpected "{": line 1, column 10'],
    ['{"a": NaN}', 'Unexpected "N": line 1, column 7'],
    ["[1]", "have to be a JSON object"],
    ["12", "have to be a JSON object"],
  ]) {
    await area.fill(text);
    await create();
    const shown = await wrong(page, "args");
    assert.ok(shown.replaceAll("\\\\", "\\").includes(said), `${text}: ${shown}`);
    assert.ok(await area.evaluate((it) => it === document.activeElement && it.ariaInvalid === "true"));
  }
  await area.fill("");
  assert.equal(await wrong(page, "args"), "");
  await page.getByLabel("Chute id").fill("");
  await page.getByLabel("Give up when no miner takes it for").fill("5x");
  await page.getByLabel("Labels, one on each line").fill("l\n".repeat(11));
  await create();
  assert.deepEqual(
    [await wrong(page, "chute"), await wrong(page, "labels"), await wrong(page, "cancel-after")],
    ["Which chute?", "There are 11, and may be 10.", "Seconds, or like 90s, 15m, 2h or 7d."],
  );
  assert.ok(await page.getByLabel("Chute id").evaluate((it) => it === document.activeElement));
  assert.equal(requests.length, 0);
  await context.close();
});

test("a refusal stands at the field that it is about", async () => {
  const { page, context, create } = await newJob("{}");
  await page.getByLabel("Chute id").fill("00000000-0000-4000-8000-000000000000");
  await create();
  await page.getByText("Chute 00000000-0000-4000-8000-000000000000 not found").waitFor();
  assert.match(await wrong(page, "chute"), /not found/);
  await page.getByLabel("Chute id").fill(stack.env.JOBCHUTE_CHUTE);
  await page.getByLabel("Method").fill("<b>walk</b>");
  await create();
  await page.getByText("has no job named").waitFor();
  assert.match(await wrong(page, "method"), /has no job named '<b>walk<\/b>'/);
  await page.getByLabel("Method").fill("run");
  await page.getByLabel("Arguments, a JSON object").fill('{"_disk_gb": 5}');
  await create();
  await page.getByText("Invalid disk size specified: 5").waitFor();
  assert.match(await wrong(page, "args"), /Invalid disk size/);

  const missing = "jobchute://inputs/00000000-0000-4000-8000-000000000000";
  await page.getByLabel("Arguments, a JSON object").fill(`{"views": [1, 2, {"mesh": "${missing}"}]}`);
  await create();
  await page.getByText("There is no such input").waitFor();
  assert.match(await wrong(page, "args"), /^views\[2\]\.mesh: There is no such input/);
  await page.getByLabel("Give up when no miner takes it for").fill("5s");
  await page.getByLabel("Labels, one on each line").fill("nightly\n\u202E");
  await create();
  await page.getByText("from 10 seconds to 30 days").waitFor();
  assert.match(await wrong(page, "cancel-after"), /from 10 seconds to 30 days/);
  assert.match(await wrong(page, "labels"), /printable characters/);
  await page.screenshot({ path: `${screenshots}/console-refused.png`, fullPage: true });
  assert.deepEqual(await findings(page), []);

  await page.getByLabel("Give up when no miner takes it for").fill("");
  await page.getByLabel("Labels, one on each line").fill("");
  const detail = "Daily job quota exceeded: chute_job_count=9 total_job_count=9 of job_quota=9 and total_quota=9";
  await page.route("**/jobs/*/run", (route) => route.fulfill({ status: 429, json: { detail } }), { times: 1 });
  await create();
  assert.match(await page.getByRole("alert").innerText(), /quota exceeded.* The next day begins in \d+ (hours?|minutes?)/);
  await context.close();
});

test("megabytes of arguments are sent as they are, and more than may be are refused at once", async () => {
  const { page, context, requests, create } = await newJob();
  const area = page.getByLabel("Arguments, a JSON object");
  const fill = (text) => area.evaluate((it, value) => (it.value = value), text);
  await fill(`{"mesh": [${"1.10, ".repeat(800_000)}1]}`);
  await create();
  await page.getByText("They have 4.6 MiB, and may have 4.0 MiB.").waitFor();
  assert.equal(requests.length, 0);
  const text = `{"mesh": [${"1.10, ".repeat(600_000)}1], "s": "${"x".repeat(100_000)}"}`;
  await fill(text);
  await create();
  await page.locator("#job").getByText("Pending").waitFor();
  assert.ok(requests[0].postData() === text);
  await context.close();
});

test("what was typed outlives a reload, and nothing of it is left for who signs in next", async () => {
  const { page, context } = await newJob('{"half": ');
  await page.reload();
  await page.getByRole("heading", { name: "New job" }).waitFor();
  assert.equal(await page.getByLabel("Arguments, a JSON object").inputValue(), '{"half": ');
  assert.equal(await page.getByLabel("Chute id").inputValue(), stack.env.JOBCHUTE_CHUTE);
  // A key that ends while somebody types: they sign in again, and go on.
  await page.getByLabel("Arguments, a JSON object").fill('{"half": 1}');
  await page.route("**/jobs/*/run", (route) => route.fulfill({ status: 401, json: { detail: "Token expired." } }), { times: 1 });
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByRole("alert").getByText("does not know this key").waitFor();
  await page.getByLabel("API key or JWT").fill(stack.env.JOBCHUTE_KEY);
  await page.keyboard.press("Enter");
  await page.getByRole("link", { name: "New job" }).click();
  assert.equal(await page.getByLabel("Arguments, a JSON object").inputValue(), '{"half": 1}');
  await page.getByRole("button", { name: "Sign out" }).click();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  await page.reload();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
  assert.equal(await page.locator("#args").inputValue(), "");
  await context.close();
});

test("a webhook's URL, which may be a secret, is left nowhere, and the job is created once all the same", async () => {
  const { page, context, requests, create } = await newJob();
  const field = page.getByLabel("Webhook: the URL");
  const secret = "https://example.com/hook?token=s3cret";
  const stored = () => page.evaluate(() => JSON.stringify({ ...sessionStorage, ...localStorage }));
  await field.fill(secret);
  await page.route("**/jobs/*/run?*", lose, { times: 1 });
  await create();
  await page.getByRole("alert").getByText("No answer came. Create it again").waitFor();
  assert.ok(!(await stored()).includes("s3cret"));
  await page.reload();
  assert.ok(!(await stored()).includes("s3cret"));
  assert.equal(await field.inputValue(), "");
  // A second time as well.
  await page.reload();
  await page.locator("#webhook-wrong").getByText("It is not kept when the page is loaded again").waitFor();
  assert.deepEqual(await findings(page), []);
  await field.fill(secret);
  assert.equal(await page.locator("#webhook-wrong").innerText(), "");
  await create();
  await page.locator("#job").getByText("Pending").waitFor();
  const keys = requests.map((it) => it.headers()["idempotency-key"]);
  assert.deepEqual([keys.length, keys[0] === keys[1]], [2, true]);
  assert.equal(new URL(requests[1].url()).searchParams.get("webhook"), secret);
  await context.close();
});

test("a job is created by keyboard, on a phone, in the dark", async () => {
  const { page, context, complaints } = await openConsole(browser, stack, { colorScheme: "dark", viewport: { width: 390, height: 844 } });
  await page.getByRole("link", { name: "New job" }).focus();
  await page.keyboard.press("Enter");
  await page.locator("#create-title:focus").waitFor();
  assert.ok(!(await page.locator("#list").isVisible()));
  await page.keyboard.press("Tab");
  await page.keyboard.type(stack.env.JOBCHUTE_CHUTE);
  await page.keyboard.press("Tab");
  await page.keyboard.type("run");
  await page.keyboard.press("Tab");
  await page.keyboard.type('{"by": "keyboard"}');
  await page.screenshot({ path: `${screenshots}/console-create-phone.png`, fullPage: true });
  assert.equal(await tooWide(page), 0);
  assert.deepEqual(await findings(page), []);
  await page.getByRole("button", { name: "Create" }).focus();
  await page.keyboard.press("Enter");
  await page.locator("#job h2:focus").waitFor();
  await page.locator("#job").getByText("Pending").waitFor();
  assert.deepEqual(complaints, []);
  await context.close();
});
