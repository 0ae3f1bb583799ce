// The console: asks for the jobs again and again while somebody looks at them, and for one job until it is over.

import { deleteJob, download, getJob, key, listJobs } from "./api.js";
import { visible } from "./text.js";
import { gone, listed, passTime, runs, whole, words } from "./view.js";

const LIST_EVERY = 3000;
const JOB_EVERY = 1500;
/** Older jobs that are looked at with the newest page. */
const OLDER_AT_ONCE = 5;

const $ = (id) => document.getElementById(id);
/** Jobs that were listed, by id: the newest page is asked for again, older ones are kept. */
let known = new Map();
let older = null;
let job = null;
/** The job that the dialog asks about. */
let doomed = null;
/** The job's heading takes the focus when it is there. */
let arriving = false;
/** What goes wrong, by what it is: the list, the job or something that was asked for. */
const troubles = new Map();
/** Counts up when what is shown changes: an answer that comes later than that is not of interest. */
let round = 0;
const timers = {};

function again(name, milliseconds, work) {
  clearTimeout(timers[name]);
  timers[name] = setTimeout(() => (document.hidden ? again(name, milliseconds, work) : work()), milliseconds);
}

function currentJob() {
  return location.hash.match(/^#\/jobs\/([0-9a-f-]{36})$/)?.[1] ?? null;
}

/** Shows what went wrong with this, until that goes right; null is right. */
function trouble(what, error) {
  if (error?.status === 401) return signOut("The API does not know this key.");
  if (error) troubles.set(what, error.message);
  else troubles.delete(what);
  const text = visible([...new Set(troubles.values())].join(" "));
  if ($("trouble").textContent !== text) $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

async function refreshList() {
  const mine = round;
  try {
    const page = await listJobs($("filter").value);
    if (mine !== round) return;
    const kept = merge(page);
    showList();
    await refreshOlder(kept);
    if (mine !== round) return;
    trouble("list", null);
  } catch (error) {
    if (mine !== round) return;
    trouble("list", error);
  }
  passTime();
  if (key.get()) again("list", LIST_EVERY, refreshList);
}

/** Takes the newest page in; tells what is older. What is as new as its jobs and not in it is gone. */
function merge(page) {
  const last = page.jobs.at(-1);
  // A page without jobs, and with another after it, says nothing of those.
  const isOlder = (it) => page.next_cursor && (!last || it.created_at < last.created_at);
  const kept = [...known.values()].filter(isOlder);
  if (!kept.length) older = page.next_cursor;
  known = new Map([...page.jobs, ...kept].map((it) => [it.job_id, it]));
  return kept;
}

/** Looks at a few of the older jobs that are not over: those first that were not looked at for longest. */
async function refreshOlder(kept) {
  const mine = round;
  const some = kept.filter((it) => !it.terminal).sort((a, b) => (a.seen ?? 0) - (b.seen ?? 0));
  for (const it of some.slice(0, OLDER_AT_ONCE)) {
    const answer = await getJob(it.job_id).catch((error) => {
      if (error.status !== 404) throw error;
    });
    if (mine !== round) return;
    for (const field of Object.keys(it)) if (answer && field in answer) it[field] = answer[field];
    it.seen = Date.now();
    if (!answer || !isAskedFor(it)) known.delete(it.job_id);
  }
  if (some.length) showList();
}

function isAskedFor(it) {
  return [...new URLSearchParams($("filter").value)].every(([field, value]) => String(it[field]) === value);
}

async function showOlder() {
  const mine = round;
  trouble("action", null);
  try {
    const page = await listJobs(`${$("filter").value}&cursor=${older}`);
    if (mine !== round) return;
    older = page.next_cursor;
    for (const it of page.jobs) known.set(it.job_id, it);
    showList();
  } catch (error) {
    if (mine === round) trouble("action", error);
  }
}

/** Shows the jobs that are known. What did not change stays, and keeps focus and selection. */
function showList() {
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
    const made = listed(it, currentJob());
    if (entry && !entry.isEqualNode(made)) {
      const focused = entry.contains(document.activeElement);
      entry.replaceWith(made);
      if (focused) made.firstChild.focus({ preventScroll: true });
      entry = made;
    }
    entry ??= made;
    if (list.children[index] !== entry) list.insertBefore(entry, list.children[index] ?? null);
  });
  $("empty").hidden = known.size > 0 || older !== null;
  $("more").hidden = !older;
}

async function refreshJob() {
  const [id, mine] = [currentJob(), round];
  if (!id) return;
  try {
    const answer = await getJob(id);
    if (mine !== round) return;
    // What stands still can be selected and read out.
    if (answer.text !== job?.text) showJob(answer);
    else if ($("runs")) $("runs").textContent = runs(answer);
    trouble("job", null);
    if (answer.terminal) return;
  } catch (error) {
    if (mine !== round) return;
    if (error.status === 404) return showGone(id);
    trouble("job", error);
  }
  again("job", JOB_EVERY, refreshJob);
}

function label(it) {
  return it.ariaLabel ?? it.textContent;
}

function showJob(answer) {
  const open = $("job").querySelector("details")?.open ?? false;
  const focused = $("job").contains(document.activeElement) ? label(document.activeElement) : null;
  job = answer;
  $("job").replaceChildren(...whole(job, { onDownload, onDelete }).filter(Boolean));
  $("job").querySelector("details").open = open;
  const same = [...$("job").querySelectorAll("a, button, h2, pre, summary")].find((it) => label(it) === focused);
  same?.focus({ preventScroll: true });
  arrive();
  const news = visible(`${job.chute.name} · ${job.method}: ${words(job.status)}`);
  if ($("news").textContent !== news) $("news").textContent = news;
}

function showGone(id) {
  job = null;
  $("job").replaceChildren(...gone());
  $("news").textContent = "This job is gone";
  arrive();
  trouble("job", null);
  known.delete(id);
  showList();
}

function arrive() {
  if (arriving) $("job").querySelector("h2").focus({ preventScroll: true });
  arriving = false;
}

async function onDownload(file, button) {
  trouble("action", null);
  button.disabled = true;
  try {
    const { url, filename } = await download(job.job_id, file);
    // S3 sends it as an attachment: the page stays.
    Object.assign(document.createElement("a"), { href: url, download: visible(filename) }).click();
  } catch (error) {
    trouble("action", error);
  }
  button.disabled = false;
}

function onDelete(it) {
  doomed = it.job_id;
  $("confirm-text").textContent = visible(
    `${it.chute.name} · ${it.method}, ${it.job_id}. It is gone for everyone` +
      `${it.terminal ? "" : ", its miner is told to stop"}, and can't be brought back.`,
  );
  $("confirm").showModal();
}

async function remove() {
  $("confirm").close();
  trouble("action", null);
  const id = doomed;
  try {
    await deleteJob(id);
    known.delete(id);
    if (currentJob() === id) location.hash = "#/";
    else navigate();
  } catch (error) {
    trouble("action", error);
  }
}

/** Goes where the address says. */
function move() {
  const left = job?.job_id;
  $("confirm").close();
  trouble("job", null);
  trouble("action", null);
  arriving = currentJob() !== null;
  navigate();
  showList();
  if (!arriving && left) $("list").querySelector(`[data-job="${left}"]`)?.focus({ preventScroll: true });
}

/** Shows what the address says. */
function navigate() {
  round += 1;
  const [signedIn, id] = [key.get() !== null, currentJob()];
  $("sign-in").hidden = signedIn;
  $("jobs").hidden = !signedIn;
  $("sign-out").hidden = !signedIn;
  document.body.classList.toggle("one-job", id !== null);
  if (job?.job_id !== id) {
    job = null;
    $("job").replaceChildren();
  }
  if (!signedIn) return $("key").focus();
  refreshList();
  refreshJob();
}

function signOut(why) {
  key.forget();
  [known, older, job] = [new Map(), null, null];
  troubles.clear();
  Object.values(timers).forEach(clearTimeout);
  location.hash = "#/";
  showList();
  $("news").textContent = "";
  navigate();
  // Not for the next who signs in.
  trouble("sign-in", why ? new Error(why) : null);
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set($("key").value.trim());
  $("key").value = "";
  trouble("sign-in", null);
  navigate();
});
$("sign-out").addEventListener("click", () => signOut());
$("filter").addEventListener("change", () => {
  [known, older] = [new Map(), null];
  navigate();
});
$("more").addEventListener("click", showOlder);
$("keep").addEventListener("click", () => $("confirm").close());
$("delete").addEventListener("click", remove);
addEventListener("hashchange", move);
document.addEventListener("visibilitychange", () => document.hidden || navigate());
navigate();
