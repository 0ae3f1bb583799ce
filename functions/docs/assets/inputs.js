// Files that a job needs: dropped or chosen, sent one after another, and put into the arguments.

import { key } from "./api.js";
import { button, bytes, element } from "./element.js";
import { placesOf } from "./json.js";
import { $, news } from "./page.js";
import { upload } from "./upload.js";

/** The files that were offered, in order. */
let files = [];
/** They are sent one after another. */
let line = Promise.resolve();

/** The string in the arguments that stands for a file until it is there. */
const standsFor = (it) => `@${it.file.name}`;

/** Puts a file's `uri` into the arguments: for the strings that stand for it, else for the selection. */
function insert(it) {
  const area = $("args");
  const places = [...placesOf(new Set([standsFor(it)]), area.value)];
  if (places.length) {
    const between = [0, ...places.map(({ end }) => end)].map((end, index) => area.value.slice(end, places[index]?.start));
    area.value = between.join(JSON.stringify(it.uri));
  } else {
    const isQuoted = area.value[area.selectionStart - 1] === '"' && area.value[area.selectionEnd] === '"';
    area.setRangeText(isQuoted ? it.uri : JSON.stringify(it.uri), area.selectionStart, area.selectionEnd, "end");
  }
  area.dispatchEvent(new Event("input"));
  area.focus();
}

function remove(it) {
  it.abort.abort();
  files = files.filter((other) => other !== it);
  it.row.remove();
}

/** Shows how it is with a file. The focus stays in its row. */
function show(it, text, ...buttons) {
  const hadFocus = it.row.contains(document.activeElement);
  const { name, size } = it.file;
  const quiet = element("span", { className: "quiet" }, [bytes(size), text].filter(Boolean).join(" · "));
  const bar = it.isSending ? element("progress", { max: Math.max(size, 1), value: 0, ariaLabel: `Sent of ${name}` }) : null;
  const about = element("span", { className: "file" }, element("bdi", {}, name), quiet, bar);
  it.row.replaceChildren(about, element("span", { className: "buttons" }, buttons));
  if (hadFocus) it.row.querySelector("button").focus();
}

async function sendOne(it) {
  if (it.abort.signal.aborted) return;
  const { name } = it.file;
  it.isSending = true;
  show(it, "is sent", button("Cancel", `Cancel: ${name}`, () => remove(it), "small"));
  const onProgress = (sent) => {
    const bar = it.row.querySelector("progress");
    if (bar) bar.value = sent;
  };
  try {
    it.uri = await upload(it, onProgress);
    it.isSending = false;
    const place = button("Put into the arguments", `Put into the arguments: ${name}`, () => insert(it), "small");
    show(it, it.uri, place, button("Remove", `Remove: ${name}`, () => remove(it), "small"));
    news(`${name} is there`);
  } catch (error) {
    it.isSending = false;
    if (it.abort.signal.aborted) return;
    const again = button("Try again", `Try again: ${name}`, () => enqueue(it), "small");
    show(it, `was not sent. ${error.message}`, again, button("Remove", `Remove: ${name}`, () => remove(it), "small"));
    news(`${name} was not sent`);
    if (error.isOfKey) document.dispatchEvent(new Event("unknown-key"));
  }
}

/** Has a file sent after those before it, for who is signed in now. */
function enqueue(it) {
  it.key = key.get();
  show(it, "waits", button("Cancel", `Cancel: ${it.file.name}`, () => remove(it), "small"));
  line = line.then(() => sendOne(it));
}

function offer(offered) {
  for (const file of offered) {
    const it = { file, row: element("li"), abort: new AbortController(), key: null, inputId: null, uri: null, isSending: false };
    files.push(it);
    $("inputs").append(it.row);
    enqueue(it);
  }
}

/** The first string in the arguments that still stands for a file, in place of its `uri`, and where it is. */
export function unplaced(text) {
  return files.length ? placesOf(new Set(files.map(standsFor)), text).next().value : undefined;
}

/** Nothing more is sent, and nothing is left. */
export function forgetInputs() {
  for (const it of files) it.abort.abort();
  files = [];
  $("inputs").replaceChildren();
}

$("files").addEventListener("change", () => {
  offer($("files").files);
  $("files").value = "";
});
// Anywhere on the page: a browser would open a file that misses the form, and leave the page.
const hasFiles = (event) => event.dataTransfer.types.includes("Files");
addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  $("drop").classList.toggle("over", !$("create").hidden);
});
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) $("drop").classList.remove("over");
});
addEventListener("drop", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  $("drop").classList.remove("over");
  if (!$("create").hidden) offer(event.dataTransfer.files);
});
addEventListener("beforeunload", (event) => {
  if (files.some((it) => it.isSending)) event.preventDefault();
});
