// A file's way from here to the bucket: in one piece or in parts, and on where it stopped when something fails.

import { Refused, getInput, key, newInput } from "./api.js";

/** Bytes of the largest file that is hashed before it is sent: the browser has to have all of it in memory for that. */
const HASHED = 256 << 20;
/** Parts that are on their way at the same time. */
const AT_ONCE = 4;
/** Failures in a row after which nothing more is tried, and milliseconds after the first of them: then twice as long each time. */
const [TRIES, PAUSE] = [5, 1000];
/** Milliseconds without a byte that is sent, or an answer, after which a connection counts as lost. */
const SILENCE = 60_000;
/** Milliseconds before a target's end from which on no part of it is begun: each URL lives for 29 seconds at least. */
const MARGIN = 10_000;
/** A browser sets these itself, and lets nobody else. */
const OWN = ["content-length", "host"];

function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

async function sha256(file) {
  if (file.size > HASHED || !crypto.subtle) return undefined;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", await file.arrayBuffer()));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** PUTs bytes; tells how many are sent. `fetch` does not tell that. */
function put(url, headers, blob, signal, onSent) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    let silence = setTimeout(abort, SILENCE);
    signal.addEventListener("abort", abort);
    request.open("PUT", url);
    for (const [name, value] of Object.entries(headers)) if (!OWN.includes(name.toLowerCase())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => {
      clearTimeout(silence);
      silence = setTimeout(abort, SILENCE);
      onSent(event.loaded);
    });
    request.addEventListener("loadend", () => {
      clearTimeout(silence);
      signal.removeEventListener("abort", abort);
      if (signal.aborted) reject(signal.reason);
      else if (request.status >= 200 && request.status < 300) resolve(onSent(blob.size));
      else reject(new Error(request.status ? `The bucket answered ${request.status}.` : "The bucket can't be reached."));
    });
    // Without a type of its own: only what was signed is sent.
    request.send(blob.slice(0, blob.size, ""));
  });
}

/**
 * Sends what a target asks for; tells how many pieces arrived, and the first failure. After it, and near the target's end, no part is
 * begun, and what is on its way still arrives.
 */
async function send(file, { url, headers, parts, expires_at: end }, signal, onProgress) {
  const all = parts ?? [{ part_number: 1, offset: 0, size: file.size, url, headers }];
  const missing = all.reduce((sum, part) => sum + part.size, 0);
  const sent = new Map();
  const show = () => onProgress([...sent.values()].reduce((sum, bytes) => sum + bytes, file.size - missing));
  const queue = [...all];
  let [arrived, failure] = [0, null];
  const worker = async () => {
    for (let part = queue.shift(); part; ) {
      const slice = file.slice(part.offset, part.offset + part.size);
      const onSent = (bytes) => show(sent.set(part.part_number, bytes));
      await put(part.url, part.headers ?? {}, slice, signal, onSent).then(() => (arrived += 1), (error) => (failure ??= error));
      // One part is sent in any case: the clock may be wrong here.
      part = failure || Date.now() > Date.parse(end) - MARGIN ? null : queue.shift();
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return { arrived, failure };
}

/**
 * Sends an input's `file` until its `abort`, and for as long as its `key` is the tab's; tells its `uri`. Keeps its `inputId` with it, so
 * that the next try goes on where this one ends. `onProgress` is told the bytes that are there. A fresh target is asked for after each
 * failure and near a target's end, since its time may be over, and after the parts, which are then put together.
 */
export async function upload(it, onProgress) {
  const { file, abort: { signal } } = it;
  let failures = 0;
  const patiently = async (work) => {
    for (;;) {
      if (key.get() !== it.key) throw new Error("The key has changed meanwhile.");
      try {
        return await work();
      } catch (error) {
        signal.throwIfAborted();
        failures += 1;
        if (failures >= TRIES || (error instanceof Refused && !error.isOpen && error.status !== 429)) throw error;
        await pause(error.wait ?? PAUSE * 2 ** (failures - 1), signal);
      }
    }
  };
  const begin = async () => {
    const hash = await sha256(file).catch(() => {
      throw new Error("It can't be read. A folder can't be sent.");
    });
    return patiently(() => newInput({ filename: file.name, size: file.size, sha256: hash, content_type: file.type || undefined }, signal));
  };
  const goOn = () => patiently(() => getInput(it.inputId, signal));
  // What it has begun may have expired, or be of another user's.
  const known = it.inputId && goOn().catch((error) => (error.status === 404 ? null : Promise.reject(error)));
  let place = (await known) ?? (await begin());
  it.inputId = place.input_id;
  while (place.upload) {
    const target = place.upload;
    const { arrived, failure } = await send(file, target, signal, onProgress);
    signal.throwIfAborted();
    if (!failure && !target.parts) break;
    // A row of failures ends with whatever arrives.
    if (arrived) failures = 0;
    if (failure) {
      failures += 1;
      if (failures >= TRIES) throw failure;
      await pause(PAUSE * 2 ** (failures - 1), signal);
    }
    place = await goOn();
    // What was sent and is not there would be sent for ever.
    if (arrived && place.upload?.parts?.length >= target.parts.length) throw new Error("The bucket has not got what was sent.");
  }
  onProgress(file.size);
  return place.uri;
}
