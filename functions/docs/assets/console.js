// The console: asks for the jobs again and again while somebody looks at them, and for one job until it is over.

import { deleteJob, download, getJob, getState, key, listJobs } from "./api.js";
import { visible } from "./text.js";
import { gone, listed, passTime, runs, whole, words } from "./view.js";

/** Milliseconds to the next look at the list: a tenth of the time since it changed, within these bounds. */
const [LIST_SOONEST, LIST_LATEST] = [3000, 60_000];
/** The same at a job where the API does not say. */
const JOB_EVERY = 1500;
/** Older jobs that are looked at with the newest page. */
const OLDER_AT_ONCE = 5;

const $ = (id) => document.getElementById(id);
/** Jobs that were listed, by id: the newest page is asked for again, older ones are kept. */
let known = new Map();
let older = null;
/** The newest page as it came, and since when it is so. */
let page = { text: null, since: 0 };
/** The job as it is shown; `job.state` is the state that this is about, as it came. */
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
  // Pages that were opened at the same time do not ask at the same time for ever.
  const wait = milliseconds * (1 + Math.random() / 10);
  timers[name] = setTimeout(() => (document.hidden ? again(name, milliseconds, work) : work()), wait);
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
  let wait = LIST_SOONEST;
  try {
    const newest = await listJobs($("filter").value);
    if (mine !== round) return;
    if (newest.text !== page.text) page = { text: newest.text, since: Date.now() };
    const kept = merge(newest);
    showList();
    await refreshOlder(kept);
    if (mine !== round) return;
    trouble("list", null);
    wait = Math.min(Math.max((Date.now() - page.since) / 10, LIST_SOONEST), LIST_LATEST);
    // Before its own time, since it has changed.
    const listed = known.get(job?.job_id);
    if (listed && !job.terminal && listed.status !== job.status) refreshJob();
  } catch (error) {
    if (mine !== round) return;
    trouble("list", error);
    wait = error.wait ?? wait;
  }
  passTime();
  if (key.get()) again("list", wait, refreshList);
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
    const answer = await getState(it.job_id).catch((error) => {
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
    const next = await listJobs(`${$("filter").value}&cursor=${older}`);
    if (mine !== round) return;
    older = next.next_cursor;
    for (const it of next.jobs) known.set(it.job_id, it);
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
  let wait = JOB_EVERY;
  try {
    const state = await getState(id);
    if (mine !== round) return;
    wait = state.wait ?? wait;
    // What stands still can be selected and read out.
    if (state.text !== job?.state) {
      const answer = hasReported(state) ? await getJob(id) : { ...state, ...readArguments(job) };
      if (mine !== round) return;
      showJob({ ...answer, state: state.text });
    } else if ($("runs")) $("runs").textContent = runs(job);
    trouble("job", null);
    if (job.terminal) return;
  } catch (error) {
    if (mine !== round) return;
    if (error.status === 404) return showGone(id);
    trouble("job", error);
    wait = error.wait ?? wait;
  }
  again("job", wait, refreshJob);
}

/** There is something to be fetched: until then a job's state says all but its arguments. */
function hasReported(it) {
  return it.terminal || it.status === "complete_pending_uploads";
}

/** The arguments, which never change, if they were read. */
function readArguments(it) {
  return { written: it?.written, job_args_url: it?.job_args_url };
}

function label(it) {
  return it.ariaLabel ?? it.textContent;
}

function showJob(answer) {
  const open = $("job").querySelector("details")?.open ?? false;
  const focused = $("job").contains(document.activeElement) ? label(document.activeElement) : null;
  job = answer;
  const handlers = { onArguments, onCopy, onDelete, onDownload, onSave, onStored };
  $("job").replaceChildren(...whole(job, handlers).filter(Boolean));
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

/** Does what was asked for; tells what goes wrong. */
async function act(work) {
  const mine = round;
  trouble("action", null);
  try {
    await work(() => mine === round);
  } catch (error) {
    if (mine === round) trouble("action", error);
  }
}

async function onDownload(file, button) {
  button.disabled = true;
  await act(async () => {
    const { url, filename } = await download(job.job_id, file);
    // S3 sends it as an attachment: the page stays.
    Object.assign(document.createElement("a"), { href: url, download: visible(filename) }).click();
  });
  button.disabled = false;
}

/** Somebody has opened the arguments of a job that was not read as a whole yet. */
function onArguments() {
  return act(async (isCurrent) => {
    const answer = await getJob(job.job_id);
    if (isCurrent() && job) showJob({ ...job, ...readArguments(answer) });
  });
}

/** Saves what the page has. */
function onSave(field, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  Object.assign(document.createElement("a"), { href: url, download: `${job.job_id}-${field}.json` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

function onCopy(name, text) {
  return act(async () => {
    await navigator.clipboard.writeText(text);
    $("news").textContent = `${name} copied`;
  });
}

/** Opens what only the bucket has, by a fresh URL. It is not asked by a script, and gets no key. */
async function onStored(field, button) {
  button.disabled = true;
  await act(async () => {
    const url = (await getJob(job.job_id))[`${field}_url`];
    Object.assign(document.createElement("a"), { href: url, target: "_blank", rel: "noopener" }).click();
  });
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
  [known, older, job, page] = [new Map(), null, null, { text: null, since: 0 }];
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
