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

/** The JSON that a request answers. */
export async function call(method, path) {
  const headers = { authorization: `Bearer ${key.get()}`, accept: "application/json" };
  let answer;
  try {
    answer = await fetch(path, { method, headers, cache: "no-store" });
  } catch {
    throw new Refused(0, "The API can't be reached. Trying again…");
  }
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body;
  const detail = Array.isArray(body.detail) ? body.detail.map((error) => error.msg).join(". ") : body.detail;
  throw new Refused(answer.status, detail ?? body.message ?? `Status ${answer.status}`);
}

export const listJobs = (query) => call("GET", `/jobs?${query}`);
export const getJob = (id) => call("GET", `/jobs/${id}`);
export const deleteJob = (id) => call("DELETE", `/jobs/${id}`);
export const download = (id, file) => call("GET", `/jobs/${id}/download/${file}`);
