// What a job prints: its end, while it runs and afterwards, and what is before that when somebody asks. It is text, whatever it says.

import { button, bytes, element, time } from "./element.js";
import { $, act, again, save, trouble } from "./page.js";
import { Pieces, UNREAD } from "./pieces.js";
import { Printed } from "./printed.js";

/** The most that is on the page at a time: bytes, and pieces, each of which is fetched by itself. */
const [MOST_BYTES, MOST_PIECES] = [256 << 10, 100];
/** Milliseconds to the next try where it can't be read; each pause is twice the one before, up to the longest. */
const [SOON, LONGEST] = [5000, 5 * 60_000];
/** Tries by itself for a job that is over, in ten minutes: what is not there then does not come. */
const MOST_TRIES = 7;
/** What a miner says in a piece of its own, where it has left out the middle. */
const LEFT_OUT = /^\n\[\d+ bytes are left out here\]\n$/;

/**
 * The log that is shown: of which job (`id`, and `job` as it was last), what there is of it (`pieces`), which of them are on the page (`on`,
 * whether it begins with the first, and whether new ones follow there), what is at work (`turn`), and what is tried again: `asking` the API,
 * and `reading` what is in the bucket.
 */
let log = null;

/** Shows nothing of a job's log, or not of another job's. */
export function leaveLog(id) {
  if (log?.id === id) return;
  log = null;
  $("log").hidden = true;
  $("log-text").replaceChildren();
  $("log-about").replaceChildren();
  $("log-news").textContent = "";
  for (const name of ["log-download", "log-earlier", "log-latest"]) $(name).hidden = true;
  trouble("log", null);
}

/** Follows what a job prints, as often as the job is looked at. One that says that it has printed nothing more costs no request. */
export function refreshLog(job) {
  leaveLog(job.job_id);
  if (job.log_bytes === null) return;
  log ??= begun(job.job_id);
  log.job = job;
  $("log").hidden = false;
  if (!log.asking.isWaiting) inTurn(follow);
}

function begun(id) {
  const [asking, reading] = [0, 0].map((tries) => ({ tries, isWaiting: false }));
  const [on, pieces, turn] = [[], new Pieces(id), Promise.resolve()];
  return { id, job: null, pieces, on, isAtStart: true, isAtEnd: true, isListed: false, asking, reading, turn };
}

/** One after another. What goes wrong is told, and tried again. */
function inTurn(work) {
  const mine = log;
  mine.turn = mine.turn.then(async () => {
    if (mine !== log) return;
    const failed = await work(mine).then(() => null, (error) => error);
    if (mine !== log) return;
    // Of a job that is gone, who asks for it is told.
    if (failed?.status === 404) return trouble("log", null);
    const isUnread = mine.on.some((it) => it.isUnread);
    trouble("log", failed ?? (isUnread ? new Error(UNREAD) : null));
    later(mine, "asking", failed !== null, work, failed?.wait);
    later(mine, "reading", isUnread || mine.pieces.isAwaited, retry);
  });
  return mine.turn;
}

/** Sees to it that it is tried again while there is need. Looks at the job meanwhile change nothing about when. */
function later(mine, name, isNeeded, work, wait) {
  const it = mine[name];
  if (!isNeeded) it.tries = 0;
  if (!isNeeded || it.isWaiting || (mine.job.terminal && it.tries >= MOST_TRIES)) return;
  it.isWaiting = true;
  again(`log-${name}`, wait ?? Math.min(SOON * 2 ** it.tries, LONGEST), () => {
    Object.assign(it, { tries: it.tries + 1, isWaiting: false });
    if (mine === log) inTurn(work);
  });
}

const retry = (mine) => follow(mine, true);

/** Where the page begins and ends. What comes late may be before it, or amid it. */
function range({ pieces: { all }, on, isAtStart }) {
  return [isAtStart ? 0 : all.indexOf(on[0]), all.indexOf(on.at(-1)) + 1];
}

async function follow(mine, isAgain = false) {
  const { job, pieces } = mine;
  const hasMore = !mine.isListed || job.log_bytes > pieces.counted || (isAgain && pieces.isAwaited);
  if (hasMore) {
    await pieces.list(job.log_bytes, () => {
      if (mine === log) $("log-about").textContent = `Looking for its end, after ${bytes(pieces.size)}…`;
      return mine === log;
    });
    if (mine !== log) return;
    mine.isListed = true;
  }
  const [first, last] = range(mine);
  const isWhole = pieces.all.slice(first, last).every((it) => it.made && !(isAgain && it.isUnread));
  if (mine.isAtEnd && (last < pieces.all.length || !isWhole)) await showNew(mine, isAgain);
  else if (!isWhole) await show(mine, first, Math.min(last, lastAfter(pieces.all, first)), isAgain);
  else if (hasMore || isAgain) tell(mine);
}

/** Shows what has come at the end. Who reads something above is not carried away from it: the page is filled then, and no more. */
async function showNew(mine, isAgain) {
  const { all } = mine.pieces;
  const [start, end] = range(mine);
  const [isFirst, isRead] = [end === 0, end > 0 && !isAtBottom()];
  const first = isRead ? start : Math.max(start, firstBefore(all, all.length));
  const lines = await show(mine, first, isRead ? lastAfter(all, first) : all.length, isAgain);
  if (lines && !isFirst) $("log-news").textContent = `The log has ${lines} more line${lines === 1 ? "" : "s"}`;
}

/** Where a page that ends before that piece begins. */
function firstBefore(all, end) {
  let [first, room] = [end, MOST_BYTES];
  while (first > 0 && end - first < MOST_PIECES && (first === end || all[first - 1].size <= room)) {
    first -= 1;
    room -= all[first].size;
  }
  return first;
}

/** Where a page that begins with that piece ends. */
function lastAfter(all, first) {
  let [last, room] = [first, MOST_BYTES];
  while (last < all.length && last - first < MOST_PIECES && (last === first || all[last].size <= room)) {
    room -= all[last].size;
    last += 1;
  }
  return last;
}

function isAtBottom() {
  const { scrollTop, clientHeight, scrollHeight } = $("log-text");
  return scrollTop + clientHeight >= scrollHeight - 8;
}

/**
 * Shows these pieces, and stays at the end where the reader was. What reads as it did stays as it is, with what is selected in it. How many
 * lines have come.
 */
async function show(mine, first, last, isAgain = false) {
  const { all } = mine.pieces;
  const parts = all.slice(first, last);
  const unread = parts.filter((it) => it.bytes === undefined);
  await mine.pieces.load(parts, isAgain);
  if (mine !== log) return 0;
  const [text, wasAtBottom] = [$("log-text"), isAtBottom()];
  for (const it of mine.on.filter((it) => !parts.includes(it))) {
    it.made.remove();
    Object.assign(it, { bytes: undefined, isUnread: false, made: null });
  }
  let [lines, printed] = [0, null];
  parts.forEach((it, index) => {
    const before = all[first + index - 1];
    const isBegun = before?.attempt === it.attempt;
    // What one attempt has left unfinished hides nothing of the next, nor does what is missing.
    if (!index || !isBegun || !before.bytes) printed = new Printed();
    const made = element("span", {}, attemptOf(mine, it, index && isBegun), shown(mine, parts, index, isBegun, printed));
    if (unread.includes(it) && it.bytes) lines += made.textContent.split("\n").length - 1;
    const was = it.made;
    if (!was?.isEqualNode(made)) it.made = made;
    if (text.children[index] !== it.made) text.insertBefore(it.made, text.children[index] ?? null);
    if (!was || was === made || was === it.made) return;
    // The button that was used for it goes with it.
    const hadFocus = was.contains(document.activeElement);
    was.remove();
    if (hadFocus) (made.querySelector("button") ?? text).focus({ preventScroll: true });
  });
  Object.assign(mine, { on: parts, isAtStart: first === 0, isAtEnd: last === all.length });
  if (wasAtBottom) text.scrollTop = text.scrollHeight;
  tell(mine);
  return lines;
}

const mark = (...words) => element("span", { className: "mark" }, ...words);

/** Which attempt begins there, where there are several. */
function attemptOf({ pieces }, { attempt, chunk }, goesOn) {
  return goesOn || pieces.all.at(-1).attempt === 1 ? null : mark(`Attempt ${attempt} · `, time(chunk.at));
}

/** A piece as it reads after those before it. The first of a page may begin amid a line, which is left out. */
function shown(mine, parts, index, isBegun, printed) {
  const it = parts[index];
  if (it.isUnread) return unreadMark(mine, parts, index);
  if (it.bytes === null) return mark(`[${bytes(it.size)} are not there any more]`);
  const text = printed.pass(!index && isBegun ? afterLine(it.bytes) : it.bytes);
  return LEFT_OUT.test(text) ? mark(text.trim()) : text;
}

/** One mark for all that could not be read in a row. */
function unreadMark(mine, parts, index) {
  const isSame = (it) => it?.isUnread && it.attempt === parts[index].attempt;
  if (isSame(parts[index - 1])) return null;
  let [end, size] = [index, 0];
  for (; isSame(parts[end]); end += 1) size += parts[end].size;
  const what = `${bytes(size)} could not be read`;
  return mark(`[${what}] `, button("Try again", `Try again: ${what}`, (it) => tryAgain(mine, it), "small"));
}

/** Somebody does not want to wait. For a job that is over, it is tried some more times after that, too. */
function tryAgain(mine, button) {
  // Once is enough.
  if (button.textContent === "Trying…") return;
  button.textContent = "Trying…";
  mine.reading.tries = 0;
  inTurn(retry).then(() => (button.textContent = "Try again"));
}

/** What follows the first line's end; if there is none, the first whole character. */
function afterLine(all) {
  const end = all.indexOf(0x0a) + 1;
  return all.subarray(end || all.findIndex((byte) => byte < 0x80 || byte > 0xbf));
}

/** Says how much of it is on the page. */
function tell(mine) {
  const { all, isAwaited, size } = mine.pieces;
  const [first, last] = range(mine);
  const isEnd = last === all.length;
  $("log-download").hidden = !size;
  hide("log-earlier", first === 0);
  hide("log-latest", isEnd);
  if (!size) {
    $("log-about").textContent = mine.job.terminal ? "What it printed is not there any more." : "What it prints is on its way.";
    return;
  }
  const some = bytes(all.slice(first, last).reduce((sum, it) => sum + it.size, 0));
  const whole = isAwaited ? `${some}, and more on its way` : `All ${some}`;
  const part = first === 0 && isEnd ? whole : `${isEnd ? "The last " : ""}${some} of ${bytes(size)}`;
  $("log-about").replaceChildren(`${part} · the last of it came `, time(all.at(-1).chunk.at));
}

/** A button that goes leaves its focus to the text. */
function hide(id, isHidden) {
  const hadFocus = document.activeElement === $(id);
  $(id).hidden = isHidden;
  if (isHidden && hadFocus) $("log-text").focus({ preventScroll: true });
}

/** Half a page more at the beginning: the line that was the first is in the middle then. */
function showEarlier() {
  inTurn(async (mine) => {
    const { all } = mine.pieces;
    const [[was, last], text] = [range(mine), $("log-text")];
    const first = Math.floor((was + firstBefore(all, was)) / 2);
    await show(mine, first, Math.min(last, lastAfter(all, first)));
    if (mine === log) text.scrollTop = text.children[was - first].offsetTop - text.offsetTop - text.clientHeight / 2;
  });
}

function showLatest() {
  inTurn(async (mine) => {
    const { all } = mine.pieces;
    await show(mine, firstBefore(all, all.length), all.length);
    if (mine === log) $("log-text").scrollTop = $("log-text").scrollHeight;
  });
}

/** Saves all of it as it was printed: what the page leaves out, too. */
async function download(button) {
  const mine = log;
  button.disabled = true;
  await act(async () => {
    const { chunks, size } = mine.pieces;
    const parts = [];
    let [done, isWhole] = [0, true];
    for (const chunk of [...chunks]) {
      const part = await mine.pieces.chunk(chunk);
      if (mine !== log) return;
      if (part === null) isWhole = false;
      else parts.push(new Blob([part]));
      done += chunk.size;
      button.textContent = `Downloading, ${Math.floor((done / size) * 100)} %`;
    }
    save(parts, "application/octet-stream", `${mine.id}.log`);
    if (!isWhole) throw new Error("Some of the log is not there any more, and not in the file.");
  });
  button.disabled = false;
  button.textContent = "Download";
  if (mine === log && document.activeElement === document.body) button.focus({ preventScroll: true });
}

$("log-earlier").addEventListener("click", showEarlier);
$("log-latest").addEventListener("click", showLatest);
$("log-download").addEventListener("click", (event) => download(event.currentTarget));
