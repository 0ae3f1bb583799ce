// The local stack and a browser, for the tests of the pages.

import { spawn, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const axe = readFileSync(new URL("node_modules/axe-core/axe.min.js", import.meta.url), "utf8");
const target = process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL("../../target", import.meta.url));
export const screenshots = `${target}/ci/screenshots`;
mkdirSync(screenshots, { recursive: true });

/**
 * Starts `cargo run -- --no-demo` with further options and variables on free ports; tells its addresses and a user's, a miner's and a
 * chute's variables.
 */
export async function startStack(options = [], variables = {}) {
  const stack = spawn(`${target}/debug/local`, ["--no-demo", "--port", "0", ...options], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...variables },
  });
  for await (const line of createInterface({ input: stack.stdout })) {
    const found = line.match(/listens on (\S+), the AWS endpoint of its engines on (\S+)\./);
    if (!found) continue;
    const env = { ...process.env, JOBCHUTE_URL: found[1], JOBCHUTE_AWS: found[2] };
    return { url: found[1], env: { ...env, ...newAccounts(env) }, stop: () => stack.kill() };
  }
  throw new Error("the stack does not start");
}

/** The variables of a new user, a new miner and a new chute. */
export function newAccounts(env) {
  const variables = jobchute(env, "keys").matchAll(/^export (\w+)=(\S+)/gm);
  return Object.fromEntries([...variables].map(([, name, value]) => [name, value]));
}

/** Runs the command and returns what it prints. */
export function jobchute(env, ...words) {
  return execFileSync(`${target}/debug/jobchute`, words, { env, encoding: "utf8" }).trim();
}

/** Runs it beside the test: ends when it ends. */
export function jobchuteBeside(env, ...words) {
  const running = spawn(`${target}/debug/jobchute`, words, { env, stdio: "ignore" });
  return new Promise((resolve) => running.on("exit", resolve));
}

/** Claims a job as its chute's miner; tells how to say and send what becomes of it. */
export async function claim(env, id) {
  const headers = { authorization: `Bearer ${env.JOBCHUTE_MINER_KEY}` };
  const ask = async (method, url, body = {}) => {
    const answer = await fetch(url, { method, headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${method}: ${answer.status} ${await answer.text()}`);
    return answer.json();
  };
  const { job_status_url: url } = await ask("PUT", `${env.JOBCHUTE_URL}/jobs/${id}/claim`);
  return {
    /** Reports that it failed. */
    fail: (detail) => ask("POST", url, { status: "error", detail }),
    progress: (progress) => ask("PUT", url.replace("?", "/heartbeat?"), { progress }),
    /** Sends what its command has printed, 1 MiB at a time. */
    print: async (printed) => {
      const all = Buffer.from(printed);
      for (let from = 0; from < all.length; from += 1 << 20) {
        const body = all.subarray(from, from + (1 << 20));
        const { log } = await ask("PUT", url.replace("?", "/heartbeat?"), { log_bytes: body.length });
        const { status } = await fetch(log.url, { method: log.method, headers: log.headers, body });
        if (status !== 200) throw new Error(`a log's chunk: ${status}`);
      }
    },
    /** Gives the job back. */
    release: () => ask("PUT", url.replace("?", "/release?"), { logs: true }),
    /** Reports its result and files, by name, and sends those that are not null. `types` has what it says that they are. */
    complete: async (result, files = {}, types = {}) => {
      const hash = (bytes) => (bytes === null ? undefined : createHash("sha256").update(bytes).digest("hex"));
      const declared = ([filename, bytes]) => ({ filename, content_type: types[filename], sha256: hash(bytes) });
      const output_files = Object.entries(files).map(declared);
      const { uploads, terminal } = await ask("POST", url, { status: "complete", result, output_files });
      for (const { method, url, headers, filename } of uploads ?? []) {
        if (files[filename] !== null) await fetch(url, { method, headers, body: files[filename] });
      }
      if (!terminal) await ask("PUT", url);
    },
  };
}

export async function startBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // As root, on a machine without a network.
    args: [
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** A page that notes what it asks of others than `url`, and every complaint: refused by the policy, or an error. */
export async function openPage(browser, url, path, options = {}) {
  const context = await browser.newContext({ baseURL: url, ...options });
  const page = await context.newPage();
  const foreign = [];
  const complaints = [];
  page.on("request", (request) => {
    const asked = request.url();
    if (!asked.startsWith(`${url}/`) && !asked.startsWith("data:")) foreign.push(asked);
  });
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(path);
  return { page, context, foreign, complaints };
}

/** The console, with the list of the jobs of a user. */
export async function openConsole(browser, stack, options = {}, env = stack.env) {
  const opened = await openPage(browser, stack.url, `${stack.url}/console`, options);
  await opened.page.getByLabel("API key or JWT").fill(env.JOBCHUTE_KEY);
  await opened.page.keyboard.press("Enter");
  await opened.page.getByRole("heading", { name: "My jobs" }).waitFor();
  return opened;
}

/** The form of a new job, with a chute and its method. `requests` are those that create a job. */
export async function openNewJob(browser, stack, args = "", options = {}, env = stack.env) {
  const opened = await openConsole(browser, stack, options, env);
  const { page } = opened;
  const requests = [];
  page.on("request", (it) => it.method() === "POST" && it.url().includes("/jobs/") && requests.push(it));
  await page.getByRole("link", { name: "New job" }).click();
  await page.getByLabel("Chute id").fill(env.JOBCHUTE_CHUTE);
  await page.getByLabel("Method").fill("run");
  await page.getByLabel("Arguments, a JSON object").fill(args);
  return { ...opened, requests, create: () => page.getByRole("button", { name: "Create" }).click() };
}

/** A route whose request is carried out, and whose page never hears of it. */
export async function lose(route) {
  await route.fetch();
  await route.abort();
}

/** How many pixels the page is wider than the screen: 0 when it fits. */
export function tooWide(page) {
  return page.evaluate(() => Math.max(0, document.documentElement.scrollWidth - innerWidth));
}

/** What axe-core finds on the page, by rule. Rules are facts of WCAG and good practice; none is left out. */
export async function findings(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.html.slice(0, 120)).join(" | ")}`);
}
