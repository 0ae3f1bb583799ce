// A file's way from here to the bucket: in one piece or in parts, and on where it stopped when something fails.

import { Refused, getInput, newInput } from "./api.js";

/** Bytes of the largest file that is hashed before it is sent: the browser has to have all of it in memory for that. */
const HASHED = 256 << 20;
/** Parts that are on their way at the same time. */
const AT_ONCE = 4;
/** Failures in a row after which nothing more is tried, and milliseconds after the first of them: then twice as long each time. */
const [TRIES, PAUSE] = [5, 1000];
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
    signal.addEventListener("abort", abort);
    request.open("PUT", url);
    for (const [name, value] of Object.entries(headers)) if (!OWN.includes(name.toLowerCase())) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => onSent(event.loaded));
    request.addEventListener("loadend", () => {
      signal.removeEventListener("abort", abort);
      if (signal.aborted) reject(signal.reason);
      else if (request.status >= 200 && request.status < 300) resolve(onSent(blob.size));
      else reject(new Error(request.status ? `The bucket answered ${request.status}.` : "The bucket can't be reached."));
    });
    // Without a type of its own: only what was signed is sent.
    request.send(blob.slice(0, blob.size, ""));
  });
}

/** Sends what a target asks for. After a failure, what is on its way still arrives. */
async function send(file, { url, headers, parts }, signal, onProgress) {
  if (!parts) return put(url, headers ?? {}, file, signal, (sent) => onProgress(sent));
  const missing = parts.reduce((sum, part) => sum + part.size, 0);
  const sent = new Map();
  const show = () => onProgress([...sent.values()].reduce((sum, bytes) => sum + bytes, file.size - missing));
  const queue = [...parts];
  let failure = null;
  const worker = async () => {
    for (let part = queue.shift(); part && !failure; part = queue.shift()) {
      const slice = file.slice(part.offset, part.offset + part.size);
      await put(part.url, {}, slice, signal, (bytes) => show(sent.set(part.part_number, bytes))).catch((error) => (failure ??= error));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  if (failure) throw failure;
}

/**
 * Sends a file and tells its `uri`. `onProgress` is told the bytes that are there. A fresh target is asked for after each failure, since
 * the former one's time may be over, and after the parts, which are then put together.
 */
export async function upload(file, signal, onProgress) {
  let failures = 0;
  const patiently = async (work) => {
    for (;;) {
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
  const hash = await sha256(file).catch(() => {
    throw new Error("It can't be read. A folder can't be sent.");
  });
  const described = { filename: file.name, size: file.size, sha256: hash, content_type: file.type || undefined };
  let place = await patiently(() => newInput(described, signal));
  while (place.upload) {
    const target = place.upload;
    try {
      await send(file, target, signal, onProgress);
      failures = 0;
      if (!target.parts) break;
    } catch (error) {
      signal.throwIfAborted();
      failures += 1;
      if (failures >= TRIES) throw error;
      await pause(PAUSE * 2 ** (failures - 1), signal);
    }
    const left = target.parts?.length;
    place = await patiently(() => getInput(place.input_id, signal));
    // What was sent and is not there would be sent for ever.
    if (failures === 0 && place.upload?.parts?.length === left) throw new Error("The bucket has not got what was sent.");
  }
  onProgress(file.size);
  return place.uri;
}
