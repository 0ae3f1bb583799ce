// What all of the page shares: where somebody is, what goes wrong, what they are asked, and when to look again.

import { visible } from "./text.js";

export const $ = (id) => document.getElementById(id);

/** Milliseconds for which an outcome is shown that needs no answer. */
const SHOWN_FOR = 8000;

/** Milliseconds that pages which wait for the same moment ask apart, at most. */
const APART = 30_000;

/** What goes wrong, by what it is: the list, the job or something that was asked for. */
const troubles = new Map();
const timers = {};
/** Counts up when what is shown changes: an answer that comes later than that is not of interest. */
let round = 0;
/** What is done when the dialog's question is answered with yes. */
let agreed = null;

/** Where the address says that somebody is: `list`, `job` with its id, `new`, `usage` or `settings`. */
export function place() {
  const id = location.hash.match(/^#\/jobs\/([0-9a-f-]{36})$/)?.[1];
  if (id) return { name: "job", id };
  const name = location.hash.match(/^#\/(new|usage|settings)$/)?.[1];
  return { name: name ?? "list", id: null };
}

/** From now on, something else is shown. */
export function nextRound() {
  round += 1;
}

/** Tells whether still the same is shown as now. */
export function sameRound() {
  const mine = round;
  return () => mine === round;
}

/** Does this again in so many milliseconds, and when somebody looks. */
export function again(name, milliseconds, work) {
  clearTimeout(timers[name]);
  // Pages that were opened at the same time do not ask at the same time for ever.
  const wait = milliseconds + Math.random() * Math.min(milliseconds / 10, APART);
  timers[name] = setTimeout(() => (document.hidden ? again(name, milliseconds, work) : work()), wait);
}

export function stopLooking() {
  Object.values(timers).forEach(clearTimeout);
}

/** Shows what went wrong with this, until that goes right; null is right. */
export function trouble(what, error) {
  if (error?.status === 401) return void (error.isOfKey && document.dispatchEvent(new Event("unknown-key")));
  if (error) troubles.set(what, error.message);
  else troubles.delete(what);
  const text = visible([...new Set(troubles.values())].join(" "));
  if ($("trouble").textContent !== text) $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

export function forgetTroubles() {
  troubles.clear();
  trouble("list", null);
}

/** Does what was asked for; tells what goes wrong, also somebody who has moved on meanwhile. */
export async function act(work) {
  trouble("action", null);
  try {
    await work(sameRound());
  } catch (error) {
    trouble("action", error);
  }
}

/** Reads out what has changed by itself. */
export function news(text) {
  if ($("news").textContent !== visible(text)) $("news").textContent = visible(text);
}

/** Shows and reads out what came of something that somebody did; for a while, unless it is going on. */
export function notice(text, goesOn = false) {
  $("notice").textContent = visible(text);
  clearTimeout(timers.notice);
  if (!goesOn) timers.notice = setTimeout(() => ($("notice").textContent = ""), SHOWN_FOR);
}

/** Saves what the page has as a file. */
export function save(parts, type, name) {
  const url = URL.createObjectURL(new Blob(parts, { type }));
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

export function copy(name, text) {
  return act(async () => {
    await navigator.clipboard.writeText(text);
    notice(`${name} copied`);
  });
}

/** Asks before something is done. The safe answer has the focus. */
export function ask({ title, text, no, yes }, work) {
  agreed = work;
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = visible(text);
  $("confirm-no").textContent = no;
  $("confirm-yes").textContent = yes;
  $("confirm").showModal();
}

$("confirm-no").addEventListener("click", () => $("confirm").close());
$("confirm-yes").addEventListener("click", () => {
  $("confirm").close();
  return agreed();
});
