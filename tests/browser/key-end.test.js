// The console: an API key that ends soon.

import assert from "node:assert/strict";
import { test } from "node:test";
import { browser, stack } from "./setup.js";
import { findings, openConsole, screenshots, tooWide } from "./stack.js";

const DAY = 24 * 60 * 60 * 1000;

/** The variables of the stack with another key of its user, which ends in so many days. */
async function withKey(days) {
  const user_id = stack.env.JOBCHUTE_KEY.split(".")[1];
  const expires_at = new Date(Date.now() + days * DAY).toISOString();
  const url = `${stack.env.JOBCHUTE_AWS}/2015-03-31/functions/admin/invocations`;
  const answer = await fetch(url, { method: "POST", body: JSON.stringify({ command: "create_key", user_id, expires_at }) });
  const { key, errorMessage } = await answer.json();
  assert.ok(key, errorMessage);
  return { ...stack.env, JOBCHUTE_KEY: key };
}

/** Two more looks at the list. */
async function lookAgain(page) {
  for (const _ of "ab") await page.waitForResponse((answer) => answer.url().endsWith("/jobs?"));
}

test("a key that ends within two weeks is told, once", async () => {
  const env = await withKey(13.5);
  const options = { colorScheme: "dark", viewport: { width: 390, height: 844 } };
  const { page, context, complaints } = await openConsole(browser, stack, options, env);
  const told = page.getByRole("status").getByText(/^This API key ends on \d+ \w+ \d+, \d+:\d+ \(in 13 days\)\.$/);
  await told.waitFor();
  assert.equal(await tooWide(page), 0);
  assert.deepEqual(await findings(page), []);
  await page.screenshot({ path: `${screenshots}/console-key-end.png` });
  await page.getByRole("button", { name: "Dismiss" }).press("Enter");
  await told.waitFor({ state: "hidden" });
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Jobchute");
  await page.route("**/jobs?*", (route) => route.fulfill({ status: 429, json: { message: "Too Many Requests" } }), { times: 1 });
  await page.getByRole("alert").getByText("Too Many Requests").waitFor();
  await page.getByRole("alert").waitFor({ state: "hidden" });
  await page.getByRole("link", { name: "Usage" }).click();
  await page.locator("#usage-title:focus").waitFor();
  assert.ok(!(await told.isVisible()));
  assert.deepEqual(complaints.filter((it) => !it.includes("429")), []);

  // The next page tells it again, until its key is gone.
  await page.reload();
  await told.waitFor();
  await page.getByRole("button", { name: "Sign out" }).click();
  await told.waitFor({ state: "hidden" });
  await context.close();
});

test("of a key that ends later, or never, nothing is told", async () => {
  for (const env of [await withKey(14.5), stack.env]) {
    const { page, context } = await openConsole(browser, stack, {}, env);
    await lookAgain(page);
    assert.ok(!(await page.getByText("This API key ends").isVisible()));
    await context.close();
  }
});
