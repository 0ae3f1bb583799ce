// What jobs look like.

import { button, bytes, duration, element, time, until } from "./element.js";
import { fileRow } from "./preview.js";
import { pretty } from "./text.js";

/** Characters of a JSON text that are shown. */
const SHOWN = 50_000;

const WORDS = {
  pending: "Pending",
  running: "Running",
  complete_pending_uploads: "Uploading",
  complete: "Complete",
  partial_failure: "Partial failure",
  error: "Error",
  cancelled: "Cancelled",
  timeout: "Timeout",
};

export function words(status) {
  return WORDS[status] ?? status;
}

function badge(status) {
  return element("span", { className: `badge ${status}` }, words(status));
}

function progress(job) {
  if (job.terminal || job.progress === null) return null;
  const percent = `${Math.round(job.progress * 100)} %`;
  return element("progress", { max: 1, value: job.progress, ariaLabel: `Progress: ${percent}` }, percent);
}

/** A job in the list. */
export function listed(job, current) {
  const labels = (job.labels ?? []).map((label) => element("bdi", { className: "label" }, label));
  const link = element(
    "a",
    { href: `#/jobs/${job.job_id}` },
    element("span", { className: "what" }, `${job.chute_name} · ${job.method}`),
    badge(job.status),
    element("span", { className: "quiet" }, element("code", {}, job.job_id.slice(0, 8)), " · ", time(job.created_at)),
    labels.length ? element("span", { className: "labels" }, labels) : null,
  );
  link.dataset.job = job.job_id;
  if (job.job_id === current) link.ariaCurrent = "true";
  return element("li", {}, link);
}

/** A line of a list of facts, if there is something to be said. */
export function fact(name, value) {
  return value === null || value === undefined ? [] : [element("dt", {}, name), element("dd", {}, value)];
}

/** How long the job ran, or has been running. */
export function runs(job) {
  if (!job.started_at) return null;
  return duration((job.finished_at ? Date.parse(job.finished_at) : Date.now()) - Date.parse(job.started_at));
}

/** Where everybody finds them: by name. */
function byName(files) {
  return Object.entries(files ?? {}).sort(([, a], [, b]) => a.filename.localeCompare(b.filename));
}

function files(job, handlers) {
  const all = byName(job.output_files);
  if (!all.length) return null;
  const rows = all.map(([id, file]) => fileRow(id, file, handlers));
  return element("div", {}, element("h3", {}, `Files (${all.length})`), element("ul", { className: "files" }, rows));
}

/** The files that the arguments name. */
function inputs(job, { onCopy }) {
  const all = byName(job.inputs);
  if (!all.length) return null;
  const row = ([id, file]) => {
    const quiet = element("span", { className: "quiet" }, [bytes(file.size), id].filter(Boolean).join(" · "));
    const copy = file.sha256 && button("Copy SHA-256", `Copy SHA-256: ${file.filename}`, () => onCopy("SHA-256", file.sha256), "small");
    return element("li", {}, element("span", { className: "file" }, element("bdi", {}, file.filename), quiet), copy);
  };
  return element("div", {}, element("h3", {}, `Inputs (${all.length})`), element("ul", { className: "files" }, all.map(row)));
}

/** What a job carries: its beginning, and all of it to take away. `field` is `job_args` or `result`. */
function payload(job, field, name, { onSave, onCopy, onStored }) {
  const text = job.written.get(field);
  if (text === "null" && job[`${field}_url`]) {
    const save = button("Download", `Download: ${name}`, (it) => onStored(field, it), "small");
    return element("p", { className: "bar" }, element("span", { className: "quiet" }, "Too large to be shown."), save);
  }
  const shown = pretty(text, SHOWN);
  const region = element("pre", { tabIndex: 0, role: "region", ariaLabel: name }, shown);
  const copy = button("Copy", `Copy: ${name}`, () => onCopy(name, text), "small");
  if (text.length <= SHOWN && shown.length < SHOWN) return [region, element("p", { className: "bar end" }, copy)];
  const about = element("span", { className: "quiet" }, `The beginning of ${bytes(new Blob([text]).size)}.`);
  const save = button("Download", `Download: ${name}`, () => onSave(field, text), "small");
  return [region, element("p", { className: "bar" }, about, element("span", { className: "buttons" }, save, copy))];
}

/** Closed at first. What is in it is asked for when somebody opens it. */
function args(job, handlers) {
  const details = element("details", {}, element("summary", {}, "Arguments"));
  if (job.written) details.append(...[payload(job, "job_args", "Arguments", handlers), inputs(job, handlers)].flat().filter(Boolean));
  else details.addEventListener("toggle", () => details.open && handlers.onArguments());
  return details;
}

function back() {
  return element("a", { href: "#/", className: "back" }, "← All jobs");
}

/** In place of a job that is not there, or not any more. */
export function gone(id, wasThere) {
  const title = wasThere ? "This job is gone" : "There is no such job";
  const why = `No job of yours has the id ${id}: it was deleted, or is somebody else's.`;
  return [back(), element("h2", { tabIndex: -1 }, title), element("p", { className: "quiet" }, why)];
}

/** What may be done with the job, as it is. */
function actions(job, { onCancel, onRetry, onDelete }) {
  const isTold = Boolean(job.cancel_requested_at);
  const mayCancel = !isTold && (job.status === "pending" || job.status === "running");
  return element(
    "div",
    { className: "buttons" },
    mayCancel ? button("Cancel…", null, () => onCancel(job)) : null,
    job.terminal && job.status !== "complete" ? button("Retry", null, (it) => onRetry(job, it)) : null,
    button("Delete…", null, () => onDelete(job), "danger"),
  );
}

function labels(job, { onLabel }) {
  if (!job.labels?.length) return null;
  const all = job.labels.map((label) => button(label, `Jobs with the label ${label}`, () => onLabel(label), "label"));
  return element("span", { className: "labels" }, all);
}

/** One job, with what it carries if that is there, and the section about its webhook. */
export function whole(job, handlers, webhook) {
  const hasResult = job.result !== null || Boolean(job.result_url);
  const attempt = job.attempt > 0 ? `${job.attempt} of ${job.max_attempts}` : null;
  const copyId = button("Copy", "Copy: Job id", () => handlers.onCopy("Job id", job.job_id), "small");
  return [
    back(),
    element("div", { className: "bar" }, element("h2", { tabIndex: -1 }, `${job.chute.name} · ${job.method}`), badge(job.status)),
    progress(job),
    job.error_detail && element("pre", { className: "problem", tabIndex: 0, role: "region", ariaLabel: "Error" }, job.error_detail),
    element(
      "dl",
      {},
      fact("Job", [element("code", {}, job.job_id), " ", copyId]),
      fact("Labels", labels(job, handlers)),
      fact("Created", time(job.created_at)),
      fact("Waits until", job.terminal ? null : until(job.expires_at)),
      fact("Cancelled", !job.terminal && job.cancel_requested_at ? ["Its miner is told to stop, ", time(job.cancel_requested_at)] : null),
      fact(job.finished_at ? "Ran for" : "Running for", job.started_at && element("span", { id: "runs" }, runs(job))),
      fact("Attempt", attempt),
      fact("Miner", job.miner_hotkey && element("code", {}, job.miner_hotkey)),
      fact("Region", job.instance?.region),
      fact("Kept until", until(job.kept_until)),
    ),
    files(job, handlers),
    hasResult ? element("div", {}, element("h3", {}, "Result"), payload(job, "result", "Result", handlers)) : null,
    args(job, handlers),
    webhook,
    actions(job, handlers),
  ];
}
