// The stack and the browser of a file's tests: they start before the first of them, and end after the last.

import { after, before } from "node:test";
import { startBrowser, startStack } from "./stack.js";

export let stack, browser;
before(async () => {
  stack = await startStack();
  browser = await startBrowser();
});
after(async () => {
  await browser?.close();
  stack?.stop();
});
