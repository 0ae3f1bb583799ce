// Calls of this API, with the key that the tab holds.

const KEY = "jobchute-key";

export const key = {
  get: () => sessionStorage.getItem(KEY),
  set: (value) => sessionStorage.setItem(KEY, value),
  forget: () => sessionStorage.removeItem(KEY),
};

/** An answer that is not a success. `status` is 0 when there was no answer. */
export class Refused extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/** What a request answers: the JSON, and its text. */
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
  if (answer.ok) return { body, text };
  const detail = Array.isArray(body.detail) ? body.detail.map((error) => error.msg).join(". ") : body.detail;
  throw new Refused(answer.status, detail ?? body.message ?? `Status ${answer.status}`);
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

export const listJobs = async (query) => (await call("GET", `/jobs?${query}`)).body;
/** A job, and the `text` that it came as. */
export async function getJob(id) {
  const { body, text } = await call("GET", `/jobs/${id}`);
  return { ...body, text };
}
export const deleteJob = (id) => call("DELETE", `/jobs/${id}`);
export const download = async (id, file) => (await call("GET", `/jobs/${id}/download/${file}`)).body;
