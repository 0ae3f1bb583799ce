// A job's log as the bucket has it: which pieces there are, and their bytes.

import { listLogs } from "./api.js";

/** Bytes of the largest piece. A chunk, which a miner sends at a time, may be sixteen of them. */
const LARGEST = 64 << 10;
/** Bytes that a chunk counts at least. */
const LEAST = 8 << 10;
/** Milliseconds for which a chunk's URL is relied on. It works for 15 minutes. */
const FRESH = 10 * 60_000;
/** Milliseconds in which a chunk may still come after a later one: a miner may begin to send it for five minutes. */
const LATE = 6 * 60_000;
export const UNREAD = "What the job printed can't be read now.";
/** The end of a chunk's key, as the `next` of its page is: attempt, bytes that are counted up to its end, and time. They sort as chunks came. */
const PLACE = /\d{6}\/(\d{12})-\d{15}$/;

export class Pieces {
  /**
   * Each with its `attempt`, its `size`, where in its `chunk` it begins (`from`), and its `bytes` while it is shown: null when they are not
   * there any more. `isUnread` says that they could not be read.
   */
  all = [];
  chunks = [];
  /** Bytes of all of it. */
  size = 0;
  #job;

  constructor(job) {
    this.#job = job;
  }

  /** Of the job's `log_bytes`, as much as is listed. */
  get counted() {
    return this.chunks.at(-1)?.end ?? 0;
  }

  /** The first chunk before which another may still come; -1 when there is none. What could not be sent leaves a gap for ever. */
  get #awaited() {
    const { chunks } = this;
    const isRecent = (it) => Date.now() - Date.parse(it.at) < LATE;
    return chunks.findIndex((it, index) => it.end - Math.max(it.size, LEAST) > (chunks[index - 1]?.end ?? 0) && isRecent(it));
  }

  get isAwaited() {
    return this.#awaited >= 0;
  }

  /**
   * Lists what has come since, up to the job's `log_bytes`, and what was late. `onPage` is called after each hundred chunks; false from it is
   * the end.
   */
  async list(upTo, onPage) {
    const late = this.#awaited;
    for (let after = this.#before(late < 0 ? this.chunks.length : late); ; ) {
      const { chunks, next } = await listLogs(this.#job, after);
      for (const chunk of chunks) this.#add(chunk);
      after = next;
      if (!chunks.length || (upTo && this.counted >= upTo) || !onPage()) return;
    }
  }

  /** What a listing goes on after, which is to begin with that chunk. */
  #before(index) {
    return this.chunks[index - 1]?.place ?? null;
  }

  /** Puts a chunk where it belongs. One that is known has a new URL. */
  #add({ attempt, at, size, url }) {
    const [place, end] = placeOf(url);
    const before = this.chunks.findLastIndex((it) => it.place <= place);
    const known = this.chunks[before];
    if (known?.place === place) return void Object.assign(known, { url, listed: Date.now() });
    const chunk = { attempt, at, size, url, place, end, listed: Date.now() };
    const pieces = [];
    for (let from = 0; from < size; from += LARGEST) {
      pieces.push({ chunk, attempt, from, size: Math.min(LARGEST, size - from), bytes: undefined, isUnread: false });
    }
    this.all.splice(this.all.findLastIndex((it) => it.chunk.place < place) + 1, 0, ...pieces);
    this.chunks.splice(before + 1, 0, chunk);
    this.size += size;
  }

  /** Has the bytes of these pieces read. What could not be read before is left alone, unless it is asked for again. */
  async load(pieces, isAgain) {
    const missing = pieces.filter((it) => it.bytes === undefined && (isAgain || !it.isUnread));
    await this.#renew(missing.map((it) => it.chunk));
    const read = await Promise.allSettled(missing.map(({ chunk, from, size }) => bytesOf(chunk, from, size)));
    // What came is kept: it costs no second request.
    missing.forEach((it, index) => Object.assign(it, { bytes: read[index].value, isUnread: read[index].status === "rejected" }));
  }

  /** The bytes of a chunk; null when it is not there any more. */
  async chunk(chunk) {
    await this.#renew([chunk]);
    return bytesOf(chunk, 0, chunk.size);
  }

  /** Lists chunks again whose URLs are old: a hundred at a time, from the first of them on. */
  async #renew(chunks) {
    const isOld = (it) => Date.now() - it.listed > FRESH;
    for (const first of chunks) {
      if (!isOld(first)) continue;
      const page = await listLogs(this.#job, this.#before(this.chunks.indexOf(first)));
      const urls = new Map(page.chunks.map(({ url }) => [placeOf(url)[0], url]));
      const last = [...urls.keys()].at(-1);
      for (const it of this.chunks.filter(isOld)) {
        const url = urls.get(it.place);
        // What is listed no more is gone.
        if (url || (it.place >= first.place && !(it.place > last))) Object.assign(it, { url: url ?? null, listed: Date.now() });
      }
    }
  }
}

/** Where a chunk is among those of its job, and how many bytes are counted up to its end. Times are no names: two chunks may have the same. */
function placeOf(url) {
  const [place, end] = new URL(url).pathname.match(PLACE);
  return [place, Number(end)];
}

/** Bytes of a chunk, by its URL in the bucket: the key does not go with the request. Null when they are not there any more. */
async function bytesOf(chunk, from, size) {
  if (chunk.url === null) return null;
  const headers = size < chunk.size ? { range: `bytes=${from}-${from + size - 1}` } : {};
  const options = { headers, credentials: "omit", referrerPolicy: "no-referrer", cache: "no-store" };
  const answer = await fetch(chunk.url, options).catch(() => null);
  if (answer?.status === 404) return null;
  const bytes = answer?.ok ? await answer.arrayBuffer().catch(() => null) : null;
  if (bytes) return new Uint8Array(bytes);
  // Its URL may have ended before its time.
  chunk.listed = 0;
  throw new Error(UNREAD);
}
