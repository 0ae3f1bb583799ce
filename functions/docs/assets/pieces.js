// A job's log as the bucket has it: which pieces there are, and their bytes.

import { listLogs } from "./api.js";

/** Bytes of the largest piece. A chunk, which a miner sends at a time, may be sixteen of them. */
const LARGEST = 64 << 10;
/** Milliseconds for which a chunk's URL is relied on. It works for 15 minutes. */
const FRESH = 10 * 60_000;

export class Pieces {
  /**
   * Each with its `attempt`, its `size`, where in its `chunk` it begins (`from`), and its `bytes` while it is
   * shown: null when they are not there any more.
   */
  all = [];
  chunks = [];
  /** Of the job's `log_bytes`, as much as is listed. */
  counted = 0;
  /** Bytes of all of it. */
  size = 0;
  #job;
  #next = null;

  constructor(job) {
    this.#job = job;
  }

  /** Lists what has come since, up to the job's `log_bytes`. `onPage` is called after each hundred chunks; false from it is the end. */
  async list(upTo, onPage) {
    for (;;) {
      const after = this.#next;
      const { chunks, next, log_bytes: counted } = await listLogs(this.#job, after);
      for (const chunk of chunks) this.#add({ ...chunk, after, listed: Date.now() });
      [this.#next, this.counted] = [next, counted ?? 0];
      if (!chunks.length || (upTo && this.counted >= upTo) || !onPage()) return;
    }
  }

  #add(chunk) {
    this.chunks.push(chunk);
    this.size += chunk.size;
    for (let from = 0; from < chunk.size; from += LARGEST) {
      this.all.push({ chunk, attempt: chunk.attempt, from, size: Math.min(LARGEST, chunk.size - from), bytes: undefined });
    }
  }

  /** Has the bytes of these pieces read. */
  async load(pieces) {
    const missing = pieces.filter((it) => it.bytes === undefined);
    await this.#renew(missing.map((it) => it.chunk));
    const loaded = await Promise.all(missing.map(({ chunk, from, size }) => read(chunk, from, size)));
    missing.forEach((it, index) => (it.bytes = loaded[index]));
  }

  /** The bytes of a chunk; null when it is not there any more. */
  async chunk(chunk) {
    await this.#renew([chunk]);
    return read(chunk, 0, chunk.size);
  }

  /** Lists chunks again whose URLs are old. */
  async #renew(chunks) {
    const old = chunks.filter((it) => Date.now() - it.listed > FRESH);
    for (const after of new Set(old.map((it) => it.after))) {
      const page = await listLogs(this.#job, after);
      for (const { attempt, at, url } of page.chunks) {
        const same = this.chunks.find((it) => it.attempt === attempt && it.at === at && it.after === after);
        if (same) Object.assign(same, { url, listed: Date.now() });
      }
    }
  }
}

/** Bytes of a chunk, by its URL in the bucket: the key does not go with the request. Null when they are not there any more. */
async function read(chunk, from, size) {
  const headers = size < chunk.size ? { range: `bytes=${from}-${from + size - 1}` } : {};
  const options = { headers, credentials: "omit", referrerPolicy: "no-referrer", cache: "no-store" };
  const answer = await fetch(chunk.url, options).catch(() => null);
  if (answer?.status === 404) return null;
  const bytes = answer?.ok ? await answer.arrayBuffer().catch(() => null) : null;
  if (bytes) return new Uint8Array(bytes);
  // Its URL may have ended before its time.
  chunk.listed = 0;
  throw new Error("What the job printed can't be read now.");
}
