// The API reference: shown without any other server, and able to call the API.

import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, stack } from "./setup.js";
import { findings, openPage, screenshots, startStack } from "./stack.js";

/** Fills an operation's fields, sends it, and returns status and body as the page shows them. */
async function execute(page, id, fields, body) {
  const operation = page.locator(`.opblock[id$="-${id}"]`);
  await operation.locator(".opblock-summary-control").click();
  for (const [name, value] of Object.entries(fields)) {
    await operation.locator(`tr[data-param-name="${name}"] input`).fill(value);
  }
  if (body) await operation.locator("textarea.body-param__text").fill(body);
  await operation.locator("button.execute").click();
  const live = operation.locator(".live-responses-table .response");
  const status = await live.locator(".response-col_status").innerText();
  return { status: Number.parseInt(status, 10), body: JSON.parse(await live.locator("pre").first().innerText()) };
}

/** Creates a job and reads it, as somebody would who has just found the page. */
async function tryOut({ url, env }) {
  const { page, context, foreign, complaints } = await openPage(browser, url, `${url}/docs`);
  await page.locator(".opblock").first().waitFor();
  assert.ok((await page.locator(".opblock").count()) >= 12);
  await page.screenshot({ path: `${screenshots}/docs.png`, fullPage: true });

  await page.locator("button.authorize").first().click();
  await page.locator("#auth-bearer-value").fill(env.JOBCHUTE_KEY);
  await page.locator('.auth-container:has(#auth-bearer-value) button[type="submit"]').click();
  await page.locator("button.btn-done").first().click();

  const fields = { chute_id: env.JOBCHUTE_CHUTE, method: "run" };
  const created = await execute(page, "create-job", fields, '{"scene": "teapot"}');
  assert.equal(created.status, 200, JSON.stringify(created.body));
  const read = await execute(page, "get-job", { job_id: created.body.job_id });
  assert.deepEqual([read.status, read.body.status], [200, "pending"]);
  assert.equal(read.body.job_args.scene, "teapot");
  await page.screenshot({ path: `${screenshots}/docs-run.png`, fullPage: true });
  assert.deepEqual(foreign, []);
  assert.deepEqual(complaints, []);
  await context.close();
}

test("the reference creates a job and reads it", () => tryOut(stack));

test("so does the reference below a REST API's stage", async () => {
  const behind = await startStack(["--front", "rest"]);
  try {
    assert.match(behind.url, /\/v1$/);
    await tryOut(behind);
  } finally {
    behind.stop();
  }
});

test("the reference is readable in the dark and on a phone", async () => {
  const options = { colorScheme: "dark", viewport: { width: 390, height: 844 } };
  const { page, context, complaints } = await openPage(browser, stack.url, "/docs", options);
  await page.locator(".opblock").first().waitFor();
  await page.screenshot({ path: `${screenshots}/docs-phone-dark.png` });
  const wider = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wider <= 0, `${wider} pixels too wide`);
  assert.deepEqual(complaints, []);
  await context.close();
});

for (const colorScheme of ["light", "dark"]) {
  test(`axe-core finds nothing in the reference, closed and open, ${colorScheme}`, async () => {
    const { page, context, complaints } = await openPage(browser, stack.url, "/docs", { colorScheme });
    await page.locator(".opblock").first().waitFor();
    assert.deepEqual(await findings(page), []);
    await page.locator('.opblock[id$="-create-job"] .opblock-summary-control').click();
    await page.locator("button.execute").waitFor();
    assert.deepEqual(await findings(page), []);
    await page.screenshot({ path: `${screenshots}/docs-open-${colorScheme}.png` });
    assert.deepEqual(complaints, []);
    await context.close();
  });
}
