// Calls of this API, with the key that the tab holds.

import { members } from "./text.js";

const KEY = "jobchute-key";
/** Where the API is: where this page is, which may be below a stage's name. */
const BASE = new URL("..", import.meta.url).href;

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** The longest that an answer, or failures, make the page wait, in seconds. */
const LONGEST = 300;

/** How often in a row each look has failed. */
const failures = {};

/**
 * An answer that is not a success. `status` is 0 when there was no answer; `wait` as in an answer; `errors` when they have places; `asked`
 * is the key that asked.
 */
export class Refused extends Error {
  constructor(status, detail, { wait = null, errors = [], asked = null } = {}) {
    super(detail);
    Object.assign(this, { status, wait, errors, asked });
  }

  /** The key that the tab holds is not good, or not any more. A late answer may be about a former one. */
  get isOfKey() {
    return this.status === 401 && this.asked === key.get();
  }

  /** Nobody knows whether it was done: it may be asked for again. */
  get isOpen() {
    return this.status === 0 || this.status >= 500;
  }
}

/** The milliseconds after which an answer says to ask again; null when it does not. */
function waitOf({ headers }) {
  const said = headers.get("retry-after");
  // What stands before the API may say a time, by the clock that dates its answer.
  const until = () => (Date.parse(said) - (Date.parse(headers.get("date")) || Date.now())) / 1000;
  const seconds = Number.isNaN(Number(said)) ? until() : Number(said);
  return seconds > 0 ? Math.min(seconds, LONGEST) * 1000 : null;
}

/**
 * How long to wait, in milliseconds, before this is asked for again: as usual, and after an error as its answer says, or twice as long each
 * time. `error` is null when it went well.
 */
export function pause(name, usual, error) {
  failures[name] = error ? (failures[name] ?? 0) + 1 : 0;
  return error?.wait ?? Math.max(usual, Math.min(usual * 2 ** failures[name], LONGEST * 1000));
}

/** What a request answers: the JSON, its text, and when to ask again. A body that is a text is sent as it is. */
async function call(method, path, { body, headers, signal } = {}) {
  const asked = key.get();
  const sent = { authorization: `Bearer ${asked}`, accept: "application/json", ...headers };
  if (body !== undefined) sent["content-type"] = "application/json";
  let answer;
  try {
    answer = await fetch(BASE + path.slice(1), { method, headers: sent, body, signal, cache: "no-store" });
  } catch {
    signal?.throwIfAborted();
    throw new Refused(0, `The API can't be reached.${method === "GET" ? " Trying again…" : ""}`);
  }
  const end = answer.headers.get("x-api-key-expires-at");
  // What API Gateway answers itself, such as 429, says nothing of the key.
  if (answer.ok && asked === key.get()) document.dispatchEvent(new CustomEvent("key-end", { detail: end }));
  const text = await answer.text().catch(() => null);
  const said = parsed(text ?? "");
  const wait = waitOf(answer);
  if (answer.ok && text === null) throw new Refused(0, "The API's answer was cut off.");
  if (answer.ok) return { body: said, text, wait };
  const errors = Array.isArray(said.detail) ? said.detail : [];
  const detail = errors.length ? errors.map((error) => error.msg).join(". ") : said.detail;
  throw new Refused(answer.status, detail ?? said.message ?? `Status ${answer.status}`, { wait, errors, asked });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

/** A page of jobs, and the `text` that it came as. */
export async function listJobs(query) {
  const { body, text } = await call("GET", `/jobs?${query}`);
  return { ...body, text };
}
/** A job with what it carries; `written` has its members as they are written. */
export async function getJob(id) {
  const { body, text } = await call("GET", `/jobs/${id}`);
  return { ...body, written: members(text) };
}
/** A job without that, the `text` that it came as, and when to ask again. */
export async function getState(id) {
  const { body, text, wait } = await call("GET", `/jobs/${id}?view=status`);
  return { ...body, text, wait };
}
export const deleteJob = (id) => call("DELETE", `/jobs/${id}`);
export const cancelJob = (id) => call("PUT", `/jobs/${id}/cancel`);
export const retryJob = (id) => call("PUT", `/jobs/${id}/retry`);
/** A page of a job's log: what has come since `after`, the `next` of another; null is from the beginning. */
export async function listLogs(id, after) {
  return (await call("GET", `/jobs/${id}/logs${after === null ? "" : `?after=${encodeURIComponent(after)}`}`)).body;
}
export const download = async (id, file) => (await call("GET", `/jobs/${id}/download/${file}`)).body;
export const getWebhook = async (id) => (await call("GET", `/jobs/${id}/webhook`)).body;
export const redeliverWebhook = async (id) => (await call("PUT", `/jobs/${id}/webhook`)).body;
export const getSecret = async () => (await call("GET", "/webhooks/secret")).body;
export const replaceSecret = async () => (await call("PUT", "/webhooks/secret")).body;
export const getUsage = async () => (await call("GET", "/usage")).body;

/** Creates a job. `target` is the path with its query; a repeat with the same `idempotencyKey` makes no second one. */
export async function createJob(target, args, idempotencyKey) {
  return (await call("POST", target, { body: args, headers: { "idempotency-key": idempotencyKey } })).body;
}

/** A place for an input: its id, its uri, and where to send it, which is null when it is there. */
export async function newInput(file, signal) {
  return (await call("POST", "/inputs", { body: JSON.stringify(file), signal })).body;
}
/** The same as it is now. */
export const getInput = async (id, signal) => (await call("PUT", `/inputs/${id}`, { signal })).body;
