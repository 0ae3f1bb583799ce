// One job: looked at until it is over, and what is done with it.

import { cancelJob, deleteJob, download, getJob, getState, pause, retryJob } from "./api.js";
import { deliveries, refreshDeliveries } from "./deliveries.js";
import { forgetJob, knownJob, showList } from "./list.js";
import { leaveLog, refreshLog } from "./log.js";
import { $, act, again, ask, copy, news, place, sameRound, save, trouble } from "./page.js";
import { preview } from "./preview.js";
import { visible } from "./text.js";
import { gone, runs, whole, words } from "./view.js";

/** Milliseconds to the next look where the API does not say. */
const JOB_EVERY = 1500;

/** Milliseconds to the next look, as the API said last. */
let usual = JOB_EVERY;
/** The job as it is shown; `job.state` is the state that this is about, as it came. */
let job = null;
/** The job's heading takes the focus when it is there. */
let arriving = false;

export const shownJob = () => job;

/** Nothing is shown of a job, or not of another one. */
export function leaveJob(id) {
  if (job?.job_id === id) return;
  job = null;
  // How long another one was waited for says nothing of the next.
  usual = pause("job", JOB_EVERY, null);
  $("job").replaceChildren();
  leaveLog(id);
}

/** The next job that is shown takes the focus. */
export function expectJob(isExpected) {
  arriving = isExpected;
}

export async function refreshJob() {
  const [{ id }, isCurrent] = [place(), sameRound()];
  if (!id) return;
  let failed = null;
  try {
    const state = await getState(id);
    if (!isCurrent()) return;
    usual = state.wait ?? JOB_EVERY;
    // What stands still can be selected and read out. That the log grows is shown elsewhere.
    const said = state.text.replace(/"log_bytes":\d+,/, "");
    if (said !== job?.state) {
      const answer = hasReported(state) ? await getJob(id) : { ...state, ...readArguments(job) };
      if (!isCurrent()) return;
      showJob({ ...answer, state: said });
    } else if ($("runs")) $("runs").textContent = runs(job);
    trouble("job", null);
    // The end may have come after the state was read.
    refreshLog(job.terminal ? job : state);
    if (job.terminal) return void refreshDeliveries(job);
  } catch (error) {
    if (!isCurrent()) return;
    if (error.status === 404) return showGone(id);
    trouble("job", error);
    failed = error;
  }
  again("job", pause("job", usual, failed), refreshJob);
}

/** There is something to be fetched: until then a job's state says all but its arguments. */
function hasReported(it) {
  return it.terminal || it.status === "complete_pending_uploads";
}

/** The arguments and the inputs that they name, which never change, if they were read. */
function readArguments(it) {
  return { written: it?.written, job_args_url: it?.job_args_url, inputs: it?.inputs };
}

function label(it) {
  return it.ariaLabel ?? it.textContent;
}

function showJob(answer) {
  const open = $("job").querySelector("details")?.open ?? false;
  const focused = $("job").contains(document.activeElement) ? label(document.activeElement) : null;
  job = answer;
  const handlers = { onArguments, onCancel, onCopy: copy, onDelete, onDownload, onLabel, onRetry, onSave, onShow, onStored };
  $("job").replaceChildren(...whole(job, handlers, deliveries(job)).flat().filter(Boolean));
  $("job").querySelector("details").open = open;
  const same = [...$("job").querySelectorAll("a, button, h2, pre, summary")].find((it) => label(it) === focused);
  same?.focus({ preventScroll: true });
  arrive();
  news(`${job.chute.name} · ${job.method}: ${words(job.status)}`);
}

function showGone(id) {
  const parts = gone(id, job?.job_id === id || knownJob(id) !== undefined);
  job = null;
  $("job").replaceChildren(...parts);
  leaveLog(null);
  news(parts[1].textContent);
  arrive();
  trouble("job", null);
  forgetJob(id);
  showList();
}

function arrive() {
  if (arriving) $("job").querySelector("h2").focus({ preventScroll: true });
  arriving = false;
}

/** Does something by a button that rests meanwhile. */
async function actBy(button, work) {
  button.disabled = true;
  await act(work);
  button.disabled = false;
}

function onDownload(file, button) {
  return actBy(button, async () => {
    const { url, filename } = await download(job.job_id, file);
    // S3 sends it as an attachment: the page stays.
    Object.assign(document.createElement("a"), { href: url, download: visible(filename) }).click();
  });
}

/** Shows a file in its place, or hides it, which also stops what plays. */
async function onShow(id, file, at, button) {
  const turn = (isOpen) => {
    [button.ariaExpanded, at.hidden, button.textContent] = [String(isOpen), !isOpen, isOpen ? "Hide" : "Show"];
    button.ariaLabel = visible(`${button.textContent}: ${file.filename}`);
  };
  if (button.ariaExpanded === "true") {
    turn(false);
    return at.replaceChildren();
  }
  await actBy(button, async () => {
    const { url } = await download(job.job_id, id);
    at.replaceChildren(...(await preview(file, url)));
    turn(true);
  });
  button.focus({ preventScroll: true });
}

/** Somebody has opened the arguments of a job that was not read as a whole yet. */
function onArguments() {
  return act(async (isCurrent) => {
    const answer = await getJob(job.job_id);
    if (isCurrent() && job) showJob({ ...job, ...readArguments(answer) });
  });
}

function onSave(field, text) {
  save([text], "application/json", `${job.job_id}-${field}.json`);
}

/** Opens what only the bucket has, by a fresh URL. It is not asked by a script, and gets no key. */
function onStored(field, button) {
  return actBy(button, async () => {
    const url = (await getJob(job.job_id))[`${field}_url`];
    Object.assign(document.createElement("a"), { href: url, target: "_blank", rel: "noopener" }).click();
  });
}

function onLabel(name) {
  $("label").value = name;
  $("label").dispatchEvent(new Event("change"));
  location.hash = "#/";
}

const changed = () => document.dispatchEvent(new Event("jobs-changed"));
const about = (it) => `${it.chute.name} · ${it.method}, ${it.job_id}.`;

function onCancel(it) {
  const what = it.status === "pending" ? "It ends at once." : "Its miner is told to stop, and what it still reports is kept.";
  ask({ title: "Cancel this job?", text: `${about(it)} ${what}`, no: "Let it run", yes: "Cancel the job" }, () =>
    act(async () => {
      await cancelJob(it.job_id);
      changed();
    }),
  );
}

function onRetry(it, button) {
  const retry = () =>
    actBy(button, async () => {
      await retryJob(it.job_id);
      changed();
    });
  if (it.result === null && !it.result_url && !Object.values(it.output_files ?? {}).some((file) => file.uploaded)) return retry();
  const text = `${about(it)} The result and the files of its former run are removed.`;
  return ask({ title: "Retry this job?", text, no: "Keep them", yes: "Retry" }, retry);
}

function onDelete(it) {
  const text = `${about(it)} It is gone for everyone${it.terminal ? "" : ", its miner is told to stop"}, and can't be brought back.`;
  ask({ title: "Delete this job and its files?", text, no: "Keep it", yes: "Delete" }, () =>
    act(async () => {
      await deleteJob(it.job_id);
      forgetJob(it.job_id);
      if (place().id === it.job_id) location.hash = "#/";
      else changed();
    }),
  );
}
