// A job's files: shown in place where that is safe and small, downloaded otherwise.
//
// The kind of a file is one of ours, and decides which element shows it. Nothing of a file can run: images, sounds and films come from
// the bucket's origin into elements that have no scripts, also of SVG, and everything else is set as text. HTML is never shown.

import { button, bytes, element } from "./element.js";
import { pretty, visible } from "./text.js";

/** Bytes of the largest file that is shown: 10 MiB. */
const LARGEST = 10 << 20;
/** Bytes of a text that are asked for, and characters that are shown. */
const [ASKED, SHOWN] = [200_000, 50_000];

const TYPES = {
  image: ["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp", "image/svg+xml"],
  video: ["video/mp4", "video/webm", "video/ogg", "video/quicktime"],
  audio: ["audio/mpeg", "audio/mp4", "audio/wav", "audio/x-wav", "audio/ogg", "audio/flac", "audio/aac", "audio/webm"],
  text: ["text/plain", "text/csv", "text/markdown", "text/tab-separated-values", "application/x-ndjson", "application/yaml"],
  json: ["application/json"],
};
const NAMES = {
  image: /\.(png|jpe?g|gif|webp|avif|bmp|svg)$/i,
  video: /\.(mp4|m4v|webm|ogv|mov)$/i,
  audio: /\.(mp3|m4a|wav|ogg|oga|opus|flac|aac)$/i,
  text: /\.(txt|log|csv|tsv|md|ndjson|jsonl|ya?ml|toml|ini)$/i,
  json: /\.json$/i,
};
const CALLED = { image: "an image", video: "a video", audio: "a sound" };
/** Said of files of which nobody knew what they are: then the name tells. */
const UNKNOWN = [null, undefined, "", "application/octet-stream", "binary/octet-stream"];

/** What a file is shown as; null when it is not. */
export function kindOf({ filename, content_type: said, size, uploaded }) {
  if (!uploaded || typeof size !== "number" || size > LARGEST) return null;
  const type = said?.split(";")[0].trim().toLowerCase();
  const kind = (meant) => Object.keys(TYPES).find(meant) ?? null;
  return UNKNOWN.includes(type) ? kind((it) => NAMES[it].test(filename)) : kind((it) => TYPES[it].includes(type));
}

/** An image, a sound or a film, which the browser fetches itself; what it can't show is said. */
function player(kind, filename, url) {
  const name = visible(filename);
  const properties = kind === "image" ? { alt: name } : { controls: true, preload: "metadata", ariaLabel: name };
  const made = element({ image: "img" }[kind] ?? kind, properties);
  made.addEventListener("error", () => made.replaceWith(element("p", { className: "quiet" }, `The browser can't show it as ${CALLED[kind]}.`)));
  made.src = url;
  return made;
}

/** The beginning of a text. The key does not go with the request. */
async function read(file, kind, url) {
  if (file.size === 0) return [element("p", { className: "quiet" }, "It is empty.")];
  const headers = { range: `bytes=0-${ASKED - 1}` };
  const answer = await fetch(url, { headers, credentials: "omit", referrerPolicy: "no-referrer", cache: "no-store" }).catch(() => null);
  if (!answer?.ok) throw new Error(`${file.filename} can't be read.`);
  const text = new TextDecoder().decode(await answer.arrayBuffer());
  const shown = kind === "json" ? pretty(text, SHOWN) : text.slice(0, SHOWN);
  const isCut = file.size > ASKED || text.length > SHOWN || shown.length >= SHOWN;
  return [
    element("pre", { tabIndex: 0, role: "region", ariaLabel: `Content: ${file.filename}` }, shown),
    isCut ? element("p", { className: "quiet" }, `The beginning of ${bytes(file.size)}.`) : null,
  ].filter(Boolean);
}

/** What shows the file. `url` is the file's in the bucket. */
export async function preview(file, url) {
  const kind = kindOf(file);
  return kind === "text" || kind === "json" ? read(file, kind, url) : [player(kind, file.filename, url)];
}

/** A file of a job, with what may be done with it. */
export function fileRow(id, file, { onDownload, onShow, onCopy }) {
  const get = button(file.uploaded ? "Download" : "Not there", null, (it) => onDownload(id, it), "small");
  get.disabled = !file.uploaded;
  get.ariaLabel = visible(`${get.textContent}: ${file.filename}`);
  const place = element("div", { className: "preview", hidden: true });
  const show = kindOf(file) && button("Show", `Show: ${file.filename}`, (it) => onShow(id, file, place, it), "small");
  if (show) show.ariaExpanded = "false";
  const copy = file.sha256 && button("Copy SHA-256", `Copy SHA-256: ${file.filename}`, () => onCopy("SHA-256", file.sha256), "small");
  const about = [bytes(file.size), file.content_type, file.sha256 && `SHA-256 ${file.sha256.slice(0, 12)}…`];
  const quiet = element("span", { className: "quiet", title: file.sha256 ?? "" }, about.filter(Boolean).join(" · "));
  return element(
    "li",
    {},
    element("span", { className: "file" }, element("bdi", {}, file.filename), quiet),
    element("span", { className: "buttons" }, copy || null, show || null, get),
    place,
  );
}
