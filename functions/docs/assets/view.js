// What jobs look like. Everything that comes from a job is set as text, never as HTML.

import { pretty, visible } from "./text.js";

/** Characters of a JSON text that are shown. */
const SHOWN = 50_000;

const shown = (it) => (typeof it === "string" ? visible(it) : it);

/** An element with properties and children; null children are left out. Whatever a text says, all of it can be seen. */
function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [property, value] of Object.entries(properties)) made[property] = shown(value);
  made.append(...children.flat().filter((child) => child !== null && child !== undefined).map(shown));
  return made;
}

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

function bytes(size) {
  if (size === null) return "";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? size : size.toFixed(1)} ${units[unit]}`;
}

function ago(text) {
  const seconds = Math.max(0, (Date.now() - Date.parse(text)) / 1000);
  for (const [unit, length] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (seconds >= length) return new Intl.RelativeTimeFormat("en").format(-Math.floor(seconds / length), unit);
  }
  return "just now";
}

function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

function time(text) {
  return element("time", { dateTime: text, title: text }, ago(text));
}

/** Lets time pass in what is shown. */
export function passTime() {
  for (const it of document.querySelectorAll("time")) {
    if (it.textContent !== ago(it.dateTime)) it.textContent = ago(it.dateTime);
  }
}

function progress(job) {
  if (job.terminal || job.progress === null) return null;
  const percent = `${Math.round(job.progress * 100)} %`;
  return element("progress", { max: 1, value: job.progress, ariaLabel: `Progress: ${percent}` }, percent);
}

/** A job in the list. */
export function listed(job, current) {
  const link = element(
    "a",
    { href: `#/jobs/${job.job_id}` },
    element("span", { className: "what" }, `${job.chute_name} · ${job.method}`),
    badge(job.status),
    element("span", { className: "quiet" }, element("code", {}, job.job_id.slice(0, 8)), " · ", time(job.created_at)),
  );
  link.dataset.job = job.job_id;
  if (job.job_id === current) link.ariaCurrent = "true";
  return element("li", {}, link);
}

function fact(name, value) {
  return value === null || value === undefined ? [] : [element("dt", {}, name), element("dd", {}, value)];
}

/** How long the job ran, or has been running. */
export function runs(job) {
  if (!job.started_at) return null;
  return duration((job.finished_at ? Date.parse(job.finished_at) : Date.now()) - Date.parse(job.started_at));
}

function files(job, onDownload) {
  const all = Object.entries(job.output_files ?? {}).sort(([, a], [, b]) => a.filename.localeCompare(b.filename));
  if (!all.length) return null;
  const row = ([id, file]) => {
    const get = element("button", { type: "button", disabled: !file.uploaded }, file.uploaded ? "Download" : "Not there");
    get.ariaLabel = visible(`${get.textContent}: ${file.filename}`);
    get.addEventListener("click", () => onDownload(id, get));
    const about = [bytes(file.size), file.content_type, file.sha256 && `SHA-256 ${file.sha256.slice(0, 12)}…`];
    const quiet = element("span", { className: "quiet", title: file.sha256 ?? "" }, about.filter(Boolean).join(" · "));
    return element("li", {}, element("span", { className: "file" }, element("bdi", {}, file.filename), quiet), get);
  };
  return element("div", {}, element("h3", {}, `Files (${all.length})`), element("ul", { className: "files" }, all.map(row)));
}

function button(name, label, onClick) {
  const made = element("button", { type: "button", ariaLabel: label }, name);
  made.addEventListener("click", () => onClick(made));
  return made;
}

/** What a job carries: its beginning, and when there is more, that to take away. `field` is `job_args` or `result`. */
function payload(job, field, name, { onSave, onCopy, onStored }) {
  const text = job.written.get(field);
  if (text === "null" && job[`${field}_url`]) {
    const save = button("Download", `Download: ${name}`, (it) => onStored(field, it));
    return element("p", { className: "bar" }, element("span", { className: "quiet" }, "Too large to be shown."), save);
  }
  const shown = pretty(text, SHOWN);
  const region = element("pre", { tabIndex: 0, role: "region", ariaLabel: name }, shown);
  if (text.length <= SHOWN && shown.length < SHOWN) return region;
  const about = element("span", { className: "quiet" }, `The beginning of ${bytes(new Blob([text]).size)}.`);
  const save = button("Download", `Download: ${name}`, () => onSave(field, text));
  const copy = button("Copy", `Copy: ${name}`, () => onCopy(name, text));
  return [region, element("p", { className: "bar" }, about, element("span", {}, save, " ", copy))];
}

/** Closed at first. What is in it is asked for when somebody opens it. */
function args(job, handlers) {
  const details = element("details", {}, element("summary", {}, "Arguments"));
  if (job.written) details.append(...[payload(job, "job_args", "Arguments", handlers)].flat());
  else details.addEventListener("toggle", () => details.open && handlers.onArguments());
  return details;
}

function back() {
  return element("a", { href: "#/", className: "back" }, "← All jobs");
}

/** In place of a job that is not there. */
export function gone() {
  return [back(), element("h2", { tabIndex: -1 }, "This job is gone")];
}

/** One job, with what it carries if that is there. */
export function whole(job, handlers) {
  const remove = element("button", { type: "button", className: "danger" }, "Delete…");
  remove.addEventListener("click", () => handlers.onDelete(job));
  const hasResult = job.result !== null || Boolean(job.result_url);
  const attempt = job.attempt > 0 ? `${job.attempt} of ${job.max_attempts}` : null;
  return [
    back(),
    element("div", { className: "bar" }, element("h2", { tabIndex: -1 }, `${job.chute.name} · ${job.method}`), badge(job.status)),
    progress(job),
    job.error_detail && element("pre", { className: "problem", tabIndex: 0, role: "region", ariaLabel: "Error" }, job.error_detail),
    element(
      "dl",
      {},
      fact("Job", element("code", {}, job.job_id)),
      fact("Created", time(job.created_at)),
      fact(job.finished_at ? "Ran for" : "Running for", job.started_at && element("span", { id: "runs" }, runs(job))),
      fact("Attempt", attempt),
      fact("Miner", job.miner_hotkey && element("code", {}, job.miner_hotkey)),
      fact("Region", job.instance?.region),
    ),
    files(job, handlers.onDownload),
    hasResult ? element("div", {}, element("h3", {}, "Result"), payload(job, "result", "Result", handlers)) : null,
    args(job, handlers),
    remove,
  ];
}
