// The console: asks for the jobs again and again while somebody looks at them, and for one job until it is over.

import { deleteJob, download, getJob, key, listJobs } from "./api.js";
import { listed, runs, whole, words } from "./view.js";

const LIST_EVERY = 3000;
const JOB_EVERY = 1500;

const $ = (id) => document.getElementById(id);
/** Jobs that were listed, by id: the newest page is asked for again, older ones are kept. */
let known = new Map();
let older = null;
let job = null;
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

/** Shows what went wrong, until something goes right. */
function trouble(error) {
  if (error?.status === 401) signOut("The API does not know this key.");
  else {
    $("trouble").textContent = error?.message ?? "";
    $("trouble").hidden = !error;
  }
}

async function refreshList() {
  const mine = round;
  try {
    const page = await listJobs($("filter").value);
    if (mine !== round) return;
    merge(page);
    showList();
    trouble(null);
  } catch (error) {
    if (mine === round) trouble(error);
  }
  if (key.get()) again("list", LIST_EVERY, refreshList);
}

/** Takes the newest page in. What is as new as its jobs and not in it is gone. */
function merge(page) {
  const last = page.jobs.at(-1);
  const kept = [...known.values()].filter((it) => page.next_cursor && last && it.created_at < last.created_at);
  if (!kept.length) older = page.next_cursor;
  known = new Map([...page.jobs, ...kept].map((it) => [it.job_id, it]));
}

async function showOlder() {
  try {
    const page = await listJobs(`${$("filter").value}&cursor=${older}`);
    older = page.next_cursor;
    for (const it of page.jobs) known.set(it.job_id, it);
    showList();
  } catch (error) {
    trouble(error);
  }
}

function showList() {
  const focused = document.activeElement?.dataset?.job;
  $("list").replaceChildren(...[...known.values()].map((it) => listed(it, currentJob())));
  if (focused) $("list").querySelector(`[data-job="${focused}"]`)?.focus();
  $("empty").hidden = known.size > 0;
  $("more").hidden = !older;
}

async function refreshJob() {
  const [id, mine] = [currentJob(), round];
  if (!id) return;
  try {
    const answer = await getJob(id);
    if (mine !== round) return;
    // What stands still can be selected and read out.
    if (JSON.stringify(answer) !== JSON.stringify(job)) showJob(answer);
    else if ($("runs")) $("runs").textContent = runs(answer);
    trouble(null);
    if (answer.terminal) return;
  } catch (error) {
    if (mine !== round) return;
    trouble(error);
    if (error.status === 404) return;
  }
  again("job", JOB_EVERY, refreshJob);
}

function showJob(answer) {
  const open = $("job").querySelector("details")?.open ?? false;
  const label = $("job").contains(document.activeElement) ? document.activeElement.textContent : null;
  job = answer;
  $("job").replaceChildren(...whole(job, { onDownload, onDelete }).filter(Boolean));
  $("job").querySelector("details").open = open;
  const same = [...$("job").querySelectorAll("a, button, summary")].find((it) => it.textContent === label);
  same?.focus();
  const news = `${job.chute.name} · ${job.method}: ${words(job.status)}`;
  if ($("news").textContent !== news) $("news").textContent = news;
}

async function onDownload(file, button) {
  button.disabled = true;
  try {
    const { url, filename } = await download(job.job_id, file);
    // S3 sends it as an attachment: the page stays.
    Object.assign(document.createElement("a"), { href: url, download: filename }).click();
  } catch (error) {
    trouble(error);
  }
  button.disabled = false;
}

function onDelete(it) {
  $("confirm-text").textContent =
    `${it.chute.name} · ${it.method}, ${it.job_id}. It is gone for everyone` +
    `${it.terminal ? "" : ", its miner is told to stop"}, and can't be brought back.`;
  $("confirm").showModal();
}

async function remove() {
  $("confirm").close();
  const id = job.job_id;
  try {
    await deleteJob(id);
    known.delete(id);
    location.hash = "#/";
  } catch (error) {
    trouble(error);
  }
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
  known = new Map();
  Object.values(timers).forEach(clearTimeout);
  location.hash = "#/";
  navigate();
  $("trouble").textContent = why ?? "";
  $("trouble").hidden = !why;
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set($("key").value.trim());
  $("key").value = "";
  navigate();
});
$("sign-out").addEventListener("click", () => signOut());
$("filter").addEventListener("change", () => {
  known = new Map();
  navigate();
});
$("more").addEventListener("click", showOlder);
$("keep").addEventListener("click", () => $("confirm").close());
$("delete").addEventListener("click", remove);
addEventListener("hashchange", navigate);
document.addEventListener("visibilitychange", () => document.hidden || navigate());
navigate();
