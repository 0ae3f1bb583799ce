// The console: who is told that a job is over, what came of it, and with which secret.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startReceiver } from "./receiver.js";
import {
  findings,
  jobchute,
  lose,
  newAccounts,
  openConsole,
  openNewJob,
  screenshots,
  startBrowser,
  startStack,
  tooWide,
} from "./stack.js";

let stack, browser, receiver;
before(async () => {
  receiver = await startReceiver();
  stack = await startStack(["--parameter", "WebhookNetworks=127.0.0.0/8"], { SSL_CERT_FILE: receiver.certificate });
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  stack?.stop();
  receiver?.stop();
});

const HOSTILE = `<img src=x onerror="document.title='ran'"><script>document.title='ran'</script>`;

/** A job with a webhook, which is over at once. */
async function cancelled(env = stack.env) {
  const headers = { authorization: `Bearer ${env.JOBCHUTE_KEY}` };
  const url = `${env.JOBCHUTE_URL}/jobs/${env.JOBCHUTE_CHUTE}/run?webhook=${receiver.url}`;
  const { job_id: id } = await (await fetch(url, { method: "POST", headers })).json();
  jobchute(env, "cancel", id);
  return id;
}

/** The console at a job, whose log of deliveries is what `answer` makes of the number of times that it was asked for. */
async function atLog(answer, options = {}) {
  const id = await cancelled();
  const opened = await openConsole(browser, stack, options);
  const asked = [];
  await opened.page.route(`**/jobs/${id}/webhook`, (route) => {
    asked.push(route.request().method());
    return route.fulfill({ json: answer(asked.length - 1) });
  });
  await opened.page.getByRole("searchbox", { name: "Job id" }).fill(id);
  await opened.page.keyboard.press("Enter");
  return { ...opened, id, asked, webhook: opened.page.getByRole("region", { name: "Webhook" }) };
}

const at = (minutesAgo) => new Date(Date.now() - minutesAgo * 60_000).toISOString();
const tried = (minutesAgo, status, more = {}) => ({ at: at(minutesAgo), status, ms: 31, body: null, error: null, ...more });
const log = (state, deliveries, next_try_at = null) => ({ webhook_id: "msg_1", state, next_try_at, deliveries });

test("a job is created with a webhook, whose tries are shown as text, and is told again", async () => {
  receiver.replies.push({ status: 410, text: HOSTILE });
  const { page, context, create, foreign, complaints } = await openNewJob(browser, stack);
  await page.getByLabel("Webhook: the URL").fill(receiver.url);
  await create();
  const job = page.locator("#job");
  const webhook = job.getByRole("region", { name: "Webhook" });
  await webhook.getByText(receiver.url).waitFor();
  await webhook.getByText("It is told when the job is over.").waitFor();
  const again = webhook.getByRole("button", { name: "Deliver again" });
  assert.equal(await again.count(), 0);

  await job.getByRole("button", { name: "Cancel…" }).click();
  await page.getByRole("button", { name: "Cancel the job" }).click();
  await webhook.getByText("Given up").waitFor();
  await webhook.getByText("Status 410").waitFor();
  await webhook.getByText(receiver.received[0].headers["webhook-id"]).waitFor();
  await webhook.getByText("Answer", { exact: true }).click();
  const answer = webhook.getByRole("region", { name: "Answer of" });
  assert.equal(await answer.innerText(), HOSTILE);
  assert.equal(await page.locator("#job img, #job script").count(), 0);
  assert.deepEqual(await findings(page), []);
  await page.screenshot({ path: `${screenshots}/console-webhook.png`, fullPage: true });

  await again.click();
  await webhook.getByText("Delivered", { exact: true }).waitFor();
  await page.locator("#deliveries button:focus").waitFor();
  assert.deepEqual(await webhook.locator("#tries bdi").allInnerTexts(), ["Status 204", "Status 410"]);
  // What was open stays open.
  assert.ok(await answer.isVisible());
  const [first, second] = receiver.received;
  assert.deepEqual([first.json.type, second.json.type], ["job.cancelled", "job.cancelled"]);
  assert.equal(first.headers["webhook-id"], second.headers["webhook-id"]);
  assert.equal(await page.title(), "Jobchute console");
  assert.deepEqual([foreign, complaints], [[], []]);
  await context.close();
});

test("what the API says of a webhook's URL stands at its field", async () => {
  const { page, context, create } = await openNewJob(browser, stack);
  const field = page.getByLabel("Webhook: the URL");
  await field.fill("http://example.com/");
  await create();
  await page.locator("#webhook-wrong").getByText("Input should be an https URL").waitFor();
  await page.locator("#webhook:focus").waitFor();
  assert.equal(await field.getAttribute("aria-invalid"), "true");
  assert.ok(!(await page.getByRole("alert").isVisible()));
  assert.deepEqual(await findings(page), []);
  await page.screenshot({ path: `${screenshots}/console-create-webhook.png`, fullPage: true });
  // It is kept where the secret is looked up meanwhile.
  await page.getByRole("form", { name: "New job" }).getByRole("link", { name: "Settings" }).click();
  await page.locator("#settings-title:focus").waitFor();
  await page.getByRole("link", { name: "New job" }).click();
  assert.equal(await field.inputValue(), "http://example.com/");
  await context.close();
});

test("the next try is waited for, however far away it is, and looked at when somebody comes back", async () => {
  const id = await cancelled();
  const { page, context } = await openConsole(browser, stack);
  await page.clock.install();
  const answers = [log("pending", [tried(1, 503)], at(-120)), log("pending", [tried(1, 503)], at(-120)), log("delivered", [tried(0, 200)])];
  const asked = [];
  await page.route(`**/jobs/${id}/webhook`, (route) => route.fulfill({ json: answers[asked.push("GET") - 1] }));
  await page.getByRole("searchbox", { name: "Job id" }).fill(id);
  await page.keyboard.press("Enter");
  const webhook = page.getByRole("region", { name: "Webhook" });
  await webhook.getByText("Status 503").waitFor();
  // The list is asked for as before.
  for (const _ of "abc") {
    const isListed = page.waitForResponse((answer) => answer.url().endsWith("/jobs?"));
    await page.clock.fastForward("10:00");
    await isListed;
  }
  assert.equal(asked.length, 1);
  await page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")));
  await page.waitForResponse((answer) => answer.url().endsWith(`${id}/webhook`));
  assert.equal(asked.length, 2);
  await page.clock.fastForward("02:00:00");
  await webhook.getByText("Delivered", { exact: true }).waitFor();
  assert.equal(asked.length, 3);
  await context.close();
});

test("a delivery is looked at until it is over, and its end is read out", async () => {
  const refused = tried(1, 503, { body: "busy" });
  const answers = [log(null, []), log("pending", [refused], at(-5)), log("delivered", [refused, tried(0, 200)])];
  const { page, context, asked, webhook, complaints } = await atLog((turn) => answers[Math.min(turn, 2)]);
  await webhook.getByText("It has not been tried yet.").waitFor();
  await page.clock.install();
  await webhook.getByText(/^Next try$/).waitFor();
  assert.match(await webhook.innerText(), /Next try\s+\d+ \w+ \d+, \d+:\d+ \(in \d minutes\)/);
  await page.clock.fastForward("06:00");
  await page.locator("#news").getByText("Webhook: Delivered").waitFor();
  assert.deepEqual(await webhook.locator("#tries bdi").allInnerTexts(), ["Status 200", "Status 503"]);
  assert.doesNotMatch(await webhook.innerText(), /Next try/);
  // After that nothing is asked any more.
  for (const _ of "ab") {
    const isListed = page.waitForResponse((answer) => answer.url().endsWith("/jobs?"));
    await page.clock.fastForward("10:00");
    await isListed;
  }
  assert.deepEqual(asked, ["GET", "GET", "GET"]);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("of a job without a webhook, nothing is shown or asked", async () => {
  const id = jobchute(stack.env, "create", stack.env.JOBCHUTE_CHUTE, "run");
  jobchute(stack.env, "cancel", id);
  // Even when it follows another job, whose delivery goes on.
  const { page, context, asked, webhook, complaints } = await atLog(() => log("pending", [tried(1, 503)], at(-5)));
  await webhook.getByText("Status 503").waitFor();
  page.on("request", (request) => request.url().endsWith(`${id}/webhook`) && asked.push(request.url()));
  await page.locator(`[data-job="${id}"]`).click();
  await page.locator("#job").getByText(id, { exact: true }).waitFor();
  assert.equal(await webhook.count(), 0);
  const { length } = asked;
  for (const _ of "ab") await page.waitForResponse((answer) => answer.url().endsWith("/jobs?"));
  assert.equal(asked.length, length);
  assert.ok(!(await page.getByRole("alert").isVisible()));
  assert.deepEqual(complaints, []);
  await context.close();
});

test("a redelivery that fails is told, and can be asked for again", async () => {
  const { page, context, id, webhook } = await atLog(() => log("failed", [tried(90, null, { error: "No answer within 15 seconds" })]));
  await webhook.getByText("No answer within 15 seconds").waitFor();
  const again = webhook.getByRole("button", { name: "Deliver again" });
  const fail = (route) => route.fulfill({ status: 503, json: { detail: "Try again later" } });
  await page.route(`**/jobs/${id}/webhook`, fail, { times: 1 });
  await again.click();
  await page.getByRole("alert").getByText("Try again later").waitFor();
  await again.click();
  await page.getByRole("status").getByText("The webhook is being delivered again").waitFor();
  assert.ok(!(await page.getByRole("alert").isVisible()));
  await context.close();
});

for (const colorScheme of ["light", "dark"]) {
  test(`a long log fits on a phone, whatever receivers answer, ${colorScheme}`, async () => {
    const all = Array.from({ length: 19 }, (_, index) => tried(60 - index, 500, { body: "x".repeat(1024), ms: 14_999 }));
    all.push(tried(2, null, { error: `TLS failed: ${HOSTILE}${"y".repeat(300)}` }), tried(1, 302, { body: `\u202E${HOSTILE}` }));
    const options = { colorScheme, viewport: { width: 390, height: 844 } };
    const { page, context, webhook, complaints } = await atLog(() => log("pending", all, at(-120)), options);
    await webhook.getByText("Status 302").waitFor();
    assert.equal(await webhook.getByRole("listitem").count(), 21);
    for (const closed of [0, 1]) await webhook.getByText("Answer", { exact: true }).nth(closed).click();
    assert.equal(await webhook.getByRole("region").first().innerText(), `\\u202e${HOSTILE}`);
    assert.ok((await webhook.innerText()).includes(`TLS failed: ${HOSTILE}`));
    assert.equal(await page.locator("#job img, #job script").count(), 0);
    assert.equal(await tooWide(page), 0);
    assert.deepEqual(await findings(page), []);
    await page.screenshot({ path: `${screenshots}/console-webhook-phone-${colorScheme}.png`, fullPage: true });
    assert.equal(await page.title(), "Jobchute console");
    assert.deepEqual(complaints, []);
    await context.close();
  });
}

test("the secret is shown when somebody asks, copied, replaced after a second thought, and left nowhere", async () => {
  const env = { ...stack.env, ...newAccounts(stack.env) };
  const permissions = ["clipboard-read", "clipboard-write"];
  const { page, context, complaints } = await openConsole(browser, stack, { permissions }, env);
  const asked = [];
  page.on("request", (request) => request.url().endsWith("/secret") && asked.push(request.method()));
  await page.getByRole("link", { name: "Settings" }).focus();
  await page.keyboard.press("Enter");
  await page.locator("#settings-title:focus").waitFor();
  const shown = page.locator("#secret");
  await page.reload();
  await page.locator("#settings-title").waitFor();
  assert.deepEqual([asked, await shown.isVisible()], [[], false]);
  assert.deepEqual(await findings(page), []);
  await page.getByRole("button", { name: "Show the secret" }).press("Enter");
  await shown.getByText("whsec_").waitFor();
  await page.locator("#secret-show:focus").waitFor();
  const first = await shown.innerText();
  await page.getByRole("button", { name: "Copy: Webhook secret" }).click();
  await page.getByRole("status").getByText("Webhook secret copied").waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), first);
  assert.deepEqual(await findings(page), []);

  const replace = page.getByRole("button", { name: "Make a new one…" });
  await replace.click();
  await page.getByRole("dialog").getByText("For 24 hours").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Keep it");
  await page.keyboard.press("Escape");
  assert.deepEqual([asked, await shown.innerText()], [["GET"], first]);
  await replace.click();
  await page.getByRole("button", { name: "Make a new one", exact: true }).click();
  await page.getByText(/^The former secret signs beside it until \d+ \w+ \d+, \d+:\d+ \(in 23 hours\)\.$/).waitFor();
  const second = await shown.innerText();
  assert.ok(second.startsWith("whsec_") && second !== first);
  assert.deepEqual(await findings(page), []);
  await page.screenshot({ path: `${screenshots}/console-settings.png` });

  await page.getByRole("button", { name: "Hide the secret" }).click();
  const left = () => page.evaluate(() => document.documentElement.outerHTML + JSON.stringify({ ...sessionStorage, ...localStorage }));
  assert.ok(!(await left()).includes("whsec_"));
  await page.getByRole("button", { name: "Show the secret" }).click();
  await shown.getByText(second).waitFor();
  await page.getByRole("link", { name: "Usage" }).click();
  await page.locator("#usage-title:focus").waitFor();
  assert.ok(!(await left()).includes("whsec_"));
  await page.goBack();
  await page.getByRole("button", { name: "Show the secret" }).click();
  await shown.getByText(second).waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("API key or JWT").waitFor();
  assert.ok(!(await left()).includes("whsec_"));
  assert.deepEqual(asked, ["GET", "PUT", "GET", "GET"]);
  assert.deepEqual(complaints, []);
  await context.close();
});

test("after a change of the secret whose answer was lost, nothing is shown that may be the former one", async () => {
  const options = { colorScheme: "dark", viewport: { width: 390, height: 844 } };
  const { page, context } = await openConsole(browser, stack, options);
  await page.getByRole("link", { name: "Settings" }).click();
  const shown = page.locator("#secret");
  const show = page.getByRole("button", { name: "Show the secret" });
  await show.click();
  await shown.getByText("whsec_").waitFor();
  const former = await shown.innerText();
  await page.route("**/webhooks/secret", lose, { times: 1 });
  await page.getByRole("button", { name: "Make a new one…" }).click();
  await page.getByRole("button", { name: "Make a new one", exact: true }).click();
  await page.getByRole("alert").getByText("The secret may be a new one").waitFor();
  assert.ok(!(await page.content()).includes("whsec_"));
  await show.click();
  await shown.getByText("whsec_").waitFor();
  assert.notEqual(await shown.innerText(), former);
  assert.ok(!(await page.getByRole("alert").isVisible()));
  assert.equal(await tooWide(page), 0);
  assert.deepEqual(await findings(page), []);
  await page.screenshot({ path: `${screenshots}/console-settings-phone.png` });
  await context.close();
});

test("an answer that comes late shows no former secret, nor any to who has left", async () => {
  const { page, context } = await openConsole(browser, stack);
  await page.getByRole("link", { name: "Settings" }).click();
  const shown = page.locator("#secret");
  const show = page.getByRole("button", { name: "Show the secret" });
  /** Answers the next request for the secret when it is called; tells when the page has the answer. */
  const held = async () => {
    let go;
    const gone = new Promise((resolve) => (go = resolve));
    const isAsked = new Promise((resolve) => {
      const hold = async (route) => {
        const response = await route.fetch();
        resolve();
        await gone;
        await route.fulfill({ response });
      };
      page.route("**/webhooks/secret", hold, { times: 1 });
    });
    await show.click();
    await isAsked;
    return async () => {
      go();
      await page.locator("#secret-show:enabled").waitFor({ state: "attached" });
    };
  };
  const answerShow = await held();
  await page.getByRole("button", { name: "Make a new one…" }).click();
  await page.getByRole("button", { name: "Make a new one", exact: true }).click();
  await shown.getByText("whsec_").waitFor();
  const latest = await shown.innerText();
  await answerShow();
  assert.equal(await shown.innerText(), latest);

  await page.getByRole("button", { name: "Hide the secret" }).click();
  const answerLeft = await held();
  await page.getByRole("link", { name: "Usage" }).click();
  await page.locator("#usage-title:focus").waitFor();
  await answerLeft();
  assert.ok(!(await page.content()).includes("whsec_"));
  await context.close();
});
