// What a job prints: its end, while it runs and afterwards, and what is before that when somebody asks. It is text, whatever it says.

import { bytes, element, time } from "./element.js";
import { $, act, again, save, trouble } from "./page.js";
import { Pieces } from "./pieces.js";
import { Printed } from "./printed.js";

/** The most that is on the page at a time: bytes, and pieces, each of which is fetched by itself. */
const [MOST_BYTES, MOST_PIECES] = [256 << 10, 100];
/** Milliseconds to the next try where it can't be read. */
const SOON = 5000;
/** What a miner says in a piece of its own, where it has left out the middle. */
const LEFT_OUT = /^\n\[\d+ bytes are left out here\]\n$/;

/**
 * The log that is shown: of which job (`id`), what there is of it (`pieces`), which of them are on the page (`first` to `last`, and
 * whether new ones follow there: `isAtEnd`), what reads them (`printed`), and what is at work (`turn`).
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
  $("log").hidden = false;
  inTurn((mine) => follow(mine, job));
}

function begun(id) {
  const turn = Promise.resolve();
  return { id, pieces: new Pieces(id), first: 0, last: 0, isAtEnd: true, isListed: false, isOver: false, printed: null, turn };
}

/** One after another. What goes wrong is told, and tried again. */
function inTurn(work) {
  const mine = log;
  mine.turn = mine.turn.then(async () => {
    if (mine !== log) return;
    try {
      await work(mine);
      if (mine === log) trouble("log", null);
    } catch (error) {
      if (mine !== log) return;
      // Of a job that is gone, who asks for it is told.
      trouble("log", error.status === 404 ? null : error);
      if (error.status !== 404) again("log", error.wait ?? SOON, () => mine === log && inTurn(work));
    }
  });
  return mine.turn;
}

async function follow(mine, job) {
  const { pieces } = mine;
  mine.isOver = job.terminal;
  const hasMore = !mine.isListed || job.log_bytes > pieces.counted;
  if (hasMore) {
    await pieces.list(job.log_bytes, () => {
      if (mine === log) $("log-about").textContent = `Looking for its end, after ${bytes(pieces.size)}…`;
      return mine === log;
    });
    if (mine !== log) return;
    mine.isListed = true;
  }
  if (mine.isAtEnd && mine.last < pieces.all.length) await showNew(mine);
  else if (hasMore) tell(mine);
}

/** Shows what has come at the end. Who reads something above is not carried away from it: the page is filled then, and no more. */
async function showNew(mine) {
  const { all } = mine.pieces;
  const [isFirst, isRead] = [mine.last === 0, mine.last > 0 && !isAtBottom()];
  const first = isRead ? mine.first : Math.max(mine.first, firstBefore(all, all.length));
  const lines = await show(mine, first, isRead ? lastAfter(all, first) : all.length);
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
 * Shows these pieces, and stays at the end where the reader was. What is there stays the same as long as it begins with the same line. How
 * many lines have come after those that were there.
 */
async function show(mine, first, last) {
  const { all } = mine.pieces;
  await mine.pieces.load(all.slice(first, last));
  if (mine !== log) return 0;
  const [text, wasAtBottom, before] = [$("log-text"), isAtBottom(), mine.last];
  const goesOn = first === mine.first && first < before && last >= before;
  for (let index = mine.first; index < before; index += 1) {
    if (index < first || index >= last) all[index].bytes = undefined;
  }
  if (!goesOn) text.replaceChildren();
  let lines = 0;
  for (let index = goesOn ? before : first; index < last; index += 1) {
    const made = shown(mine, index, index === first);
    if (index >= before) lines += made.textContent.split("\n").length - 1;
    text.append(made);
  }
  Object.assign(mine, { first, last, isAtEnd: last === all.length });
  if (wasAtBottom) text.scrollTop = text.scrollHeight;
  tell(mine);
  return lines;
}

/** A piece as it reads after those before it. The first of a page may begin amid a line, which is left out. */
function shown(mine, index, isFirst) {
  const { all } = mine.pieces;
  const [it, before] = [all[index], all[index - 1]];
  const isBegun = before?.attempt === it.attempt;
  // What one attempt has left unfinished hides nothing of the next.
  if (isFirst || !isBegun) mine.printed = new Printed();
  const mark = (...words) => element("span", { className: "mark" }, ...words);
  const attempt = (isFirst || !isBegun) && all.at(-1).attempt > 1 ? mark(`Attempt ${it.attempt} · `, time(it.chunk.at)) : null;
  if (it.bytes === null) return element("span", {}, attempt, mark(`[${bytes(it.size)} are not there any more]`));
  const printed = mine.printed.pass(isFirst && isBegun ? afterLine(it.bytes) : it.bytes);
  return element("span", {}, attempt, LEFT_OUT.test(printed) ? mark(printed.trim()) : printed);
}

/** What follows the first line's end; if there is none, the first whole character. */
function afterLine(all) {
  const end = all.indexOf(0x0a) + 1;
  return all.subarray(end || all.findIndex((byte) => byte < 0x80 || byte > 0xbf));
}

/** Says how much of it is on the page. */
function tell({ pieces, first, last, isOver }) {
  const { all, size } = pieces;
  const isEnd = last === all.length;
  $("log-download").hidden = !size;
  hide("log-earlier", first === 0);
  hide("log-latest", isEnd);
  if (!size) {
    $("log-about").textContent = isOver ? "What it printed is not there any more." : "What it prints is on its way.";
    return;
  }
  const some = bytes(all.slice(first, last).reduce((sum, it) => sum + it.size, 0));
  const part = first === 0 && isEnd ? `All ${some}` : `${isEnd ? "The last " : ""}${some} of ${bytes(size)}`;
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
    const [was, text] = [mine.first, $("log-text")];
    const first = Math.floor((was + firstBefore(all, was)) / 2);
    await show(mine, first, Math.min(mine.last, lastAfter(all, first)));
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
