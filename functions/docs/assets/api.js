// Calls of this API, with the key that the tab holds.

import { members } from "./text.js";

const KEY = "jobchute-key";

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** The longest that an answer makes the page wait, in seconds. */
const LONGEST = 300;

/** An answer that is not a success. `status` is 0 when there was no answer; `wait` as in an answer. */
export class Refused extends Error {
  constructor(status, detail, wait = null) {
    super(detail);
    Object.assign(this, { status, wait });
  }
}

/** The milliseconds after which an answer says to ask again; null when it does not. */
function waitOf(answer) {
  const seconds = Number(answer.headers.get("retry-after"));
  return seconds > 0 ? Math.min(seconds, LONGEST) * 1000 : null;
}

/** What a request answers: the JSON, its text, and when to ask again. */
async function call(method, path) {
  const headers = { authorization: `Bearer ${key.get()}`, accept: "application/json" };
  let answer;
  try {
    answer = await fetch(path, { method, headers, cache: "no-store" });
  } catch {
    throw new Refused(0, "The API can't be reached. Trying again…");
  }
  const text = await answer.text().catch(() => "");
  const body = parsed(text);
  const wait = waitOf(answer);
  if (answer.ok) return { body, text, wait };
  const detail = Array.isArray(body.detail) ? body.detail.map((error) => error.msg).join(". ") : body.detail;
  throw new Refused(answer.status, detail ?? body.message ?? `Status ${answer.status}`, wait);
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
export const download = async (id, file) => (await call("GET", `/jobs/${id}/download/${file}`)).body;
