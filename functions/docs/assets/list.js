// The list of jobs: asked for again and again while somebody looks at it.

import { getState, key, listJobs, pause, retryJob } from "./api.js";
import { element, passTime } from "./element.js";
import { $, act, again, ask, notice, place, sameRound, trouble } from "./page.js";
import { listed } from "./view.js";

/** Milliseconds to the next look at the list: a tenth of the time since it changed, within these bounds. */
const [LIST_SOONEST, LIST_LATEST] = [3000, 60_000];
/** Older jobs that are looked at with the newest page. */
const OLDER_AT_ONCE = 5;
/** States of a job that did not succeed and that nobody wanted so. */
const FAILED = ["error", "partial_failure", "timeout"];

/** Jobs that were listed, by id: the newest page is asked for again, older ones are kept. */
let known = new Map();
let older = null;
/** The newest page as it came, and since when it is so. */
let page = { text: null, since: 0 };
/** The chutes that the jobs are of, by id, with their names and methods; and the labels that they have. */
const chutes = new Map();
const labels = new Set();
let isRetrying = false;

export const knownJob = (id) => known.get(id);
export const knownChutes = () => chutes;

/** Looks at the list, and again when it may have changed. `onListed` is called after each look. */
export async function refreshList(onListed) {
  const isCurrent = sameRound();
  let failed = null;
  try {
    const newest = await listJobs(query());
    if (!isCurrent()) return;
    if (newest.text !== page.text) page = { text: newest.text, since: Date.now() };
    const kept = merge(newest);
    showList();
    await refreshOlder(kept);
    if (!isCurrent()) return;
    trouble("list", null);
    onListed();
  } catch (error) {
    if (!isCurrent()) return;
    trouble("list", error);
    failed = error;
  }
  passTime();
  const since = page.text === null ? 0 : Date.now() - page.since;
  const usual = Math.min(Math.max(since / 10, LIST_SOONEST), LIST_LATEST);
  if (key.get()) again("list", pause("list", usual, failed), () => refreshList(onListed));
}

/** What is asked for. */
function query() {
  const label = $("label").value.trim();
  return [$("filter").value, label && `label=${encodeURIComponent(label)}`].filter(Boolean).join("&");
}

/** Takes the newest page in; tells what is older. What is as new as its jobs and not in it is gone. */
function merge(page) {
  const last = page.jobs.at(-1);
  // A page without jobs, and with another after it, says nothing of those.
  const isOlder = (it) => page.next_cursor && (!last || it.created_at < last.created_at);
  const kept = [...known.values()].filter(isOlder);
  if (!kept.length) older = page.next_cursor;
  known = new Map([...page.jobs, ...kept].map((it) => [it.job_id, it]));
  remember(page.jobs);
  return kept;
}

/** Remembers what can be suggested later. */
function remember(jobs) {
  for (const { chute_id: id, chute_name: name, method, labels: its } of jobs) {
    if (!chutes.has(id)) chutes.set(id, { name, methods: new Set() });
    chutes.get(id).methods.add(method);
    for (const label of its ?? []) labels.add(label);
  }
  const options = [...labels].slice(-100).map((value) => element("option", { value }));
  if ($("known-labels").childElementCount !== options.length) $("known-labels").replaceChildren(...options);
}

/** Looks at a few of the older jobs that are not over: those first that were not looked at for longest. */
async function refreshOlder(kept) {
  const isCurrent = sameRound();
  const some = kept.filter((it) => !it.terminal).sort((a, b) => (a.seen ?? 0) - (b.seen ?? 0));
  for (const it of some.slice(0, OLDER_AT_ONCE)) {
    const answer = await getState(it.job_id).catch((error) => {
      if (error.status !== 404) throw error;
    });
    if (!isCurrent()) return;
    for (const field of Object.keys(it)) if (answer && field in answer) it[field] = answer[field];
    it.seen = Date.now();
    if (!answer || !isAskedFor(it)) known.delete(it.job_id);
  }
  if (some.length) showList();
}

function isAskedFor(it) {
  // Labels never change.
  return [...new URLSearchParams($("filter").value)].every(([field, value]) => String(it[field]) === value);
}

async function showOlder() {
  await act(async (isCurrent) => {
    const next = await listJobs(`${query()}&cursor=${older}`);
    if (!isCurrent()) return;
    older = next.next_cursor;
    for (const it of next.jobs) known.set(it.job_id, it);
    remember(next.jobs);
    showList();
  });
}

/** Shows the jobs that are known. What did not change stays, and keeps focus and selection. */
export function showList() {
  passTime();
  const list = $("list");
  const shown = new Map();
  for (const entry of [...list.children]) {
    const id = entry.firstChild.dataset.job;
    if (known.has(id)) shown.set(id, entry);
    else entry.remove();
  }
  [...known.values()].forEach((it, index) => {
    let entry = shown.get(it.job_id);
    const made = listed(it, place().id);
    if (entry && !entry.isEqualNode(made)) {
      const focused = entry.contains(document.activeElement);
      entry.replaceWith(made);
      if (focused) made.firstChild.focus({ preventScroll: true });
      entry = made;
    }
    entry ??= made;
    if (list.children[index] !== entry) list.insertBefore(entry, list.children[index] ?? null);
  });
  const many = failed().length;
  $("retry-all").hidden = !many;
  $("retry-all").textContent = `Retry ${many} failed…`;
  $("empty").hidden = known.size > 0 || older !== null;
  $("more").hidden = !older;
}

const failed = () => [...known.values()].filter((it) => FAILED.includes(it.status));

/** Has the failed jobs that are listed tried again, one after another, until the quota ends. */
async function retryAll() {
  const all = failed();
  const signedIn = key.get();
  let done = 0;
  isRetrying = $("retry-all").disabled = true;
  trouble("action", null);
  for (const it of all) {
    if (key.get() !== signedIn) break;
    notice(`Retrying ${done + 1} of ${all.length}`, true);
    try {
      await retryJob(it.job_id);
      done += 1;
    } catch (error) {
      // Somebody has deleted it, or retried it before.
      if (error.status === 404 || error.status === 409) continue;
      error.message = `${done} of ${all.length} jobs were retried, then: ${error.message}`;
      trouble("action", error);
      break;
    }
  }
  isRetrying = $("retry-all").disabled = false;
  if (key.get() !== signedIn) return;
  notice(`${done} of ${all.length} jobs were retried`);
  document.dispatchEvent(new Event("jobs-changed"));
}

export function forgetJob(id) {
  known.delete(id);
}

/** Begins anew, with other jobs. */
export function forgetList() {
  [known, older, page] = [new Map(), null, { text: null, since: 0 }];
}

/** Forgets whose jobs they were. */
export function forgetOwner() {
  forgetList();
  chutes.clear();
  labels.clear();
  $("known-labels").replaceChildren();
  [$("filter").value, $("label").value] = ["", ""];
}

$("more").addEventListener("click", showOlder);
$("retry-all").addEventListener("click", () => {
  if (isRetrying) return;
  const many = failed().length;
  const title = many === 1 ? "Retry the failed job that is listed?" : `Retry the ${many} failed jobs that are listed?`;
  const text = "Each counts against the day's quota like a new job. What their former runs have left is removed: errors, results and files.";
  ask({ title, text, no: "Leave them", yes: "Retry" }, retryAll);
});
