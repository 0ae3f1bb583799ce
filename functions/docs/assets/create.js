// A new job. What somebody typed is sent as they typed it.

import { createJob, key } from "./api.js";
import { away, bytes, element } from "./element.js";
import { forgetInputs, unplaced } from "./inputs.js";
import { objectError } from "./json.js";
import { $, notice, place, trouble } from "./page.js";
import { visible } from "./text.js";

const DRAFT = "jobchute-draft";
/** Bytes of the largest arguments. */
const LARGEST = 4 << 20;
/** Characters of arguments that are checked whenever somebody leaves them. */
const CHECKED = 1 << 20;
const FIELDS = ["chute", "method", "args", "labels", "cancel-after", "webhook"];

/**
 * The request of which nobody knows whether it was done, with its `Idempotency-Key`. Its `webhook` is undefined when it has outlived the
 * page and had one, which is typed again.
 */
let open = null;
/** A webhook was typed, and is not there any more. */
let lacksWebhook = false;

/** Says at a field what is wrong with it; null says that nothing is. */
function wrong(field, message) {
  const said = $(`${field}-wrong`);
  said.textContent = visible(message ?? "");
  $(field).ariaInvalid = message ? "true" : null;
}

const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

/** What is wrong with the arguments: `{ message, at }`, or null. */
function argumentsError(text) {
  const size = new Blob([text]).size;
  if (size > LARGEST) return { message: `They have ${bytes(size)}, and may have ${bytes(LARGEST)}.`, at: null };
  const error = objectError(text);
  const stand = error ? undefined : unplaced(text);
  if (!stand) return error;
  return { message: `${JSON.stringify(stand.string)} stands for a file: put it into the arguments first.`, at: stand.start };
}

/** Checks all fields; tells whether they are good. The first that is not takes the focus. */
function check() {
  const labels = lines($("labels").value);
  const long = labels.find((label) => [...label].length > 64);
  const args = argumentsError($("args").value);
  const found = {
    chute: $("chute").value.trim() ? null : "Which chute?",
    method: $("method").value.trim() ? null : "Which of its jobs?",
    args: args?.message,
    labels: labels.length > 10 ? `There are ${labels.length}, and may be 10.` : long && `A label has at most 64 characters: ${long}`,
    "cancel-after": /^(\d+[smhd]?)?$/.test($("cancel-after").value.trim()) ? null : "Seconds, or like 90s, 15m, 2h or 7d.",
  };
  for (const field of FIELDS) wrong(field, found[field]);
  if (args?.at != null) $("args").setSelectionRange(args.at, args.at + 1);
  return !focusWrong();
}

function focusWrong() {
  const first = FIELDS.find((field) => $(field).ariaInvalid === "true");
  if (first) $(first).focus();
  return first !== undefined;
}

/** The request as it is typed. */
function typed() {
  const path = ["chute", "method"].map((field) => encodeURIComponent($(field).value.trim())).join("/");
  const query = new URLSearchParams(lines($("labels").value).map((label) => ["label", label]));
  const after = $("cancel-after").value.trim();
  if (after) query.append("cancel_after", after);
  const webhook = $("webhook").value.trim();
  return { path: `/jobs/${path}`, query: String(query), webhook, body: $("args").value.trim() ? $("args").value : "{}" };
}

/** Whether it is the request that is open. */
function isOpen({ path, query, webhook, body }) {
  if (open?.path !== path || open.query !== query || open.body !== body) return false;
  return open.webhook === undefined ? webhook !== "" : open.webhook === webhook;
}

function send({ path, query, webhook, body, key: idempotencyKey }) {
  const all = new URLSearchParams(query);
  if (webhook) all.append("webhook", webhook);
  return createJob(all.size ? `${path}?${all}` : path, body, idempotencyKey);
}

/** Long, and nobody else's. Also where a page was not loaded by HTTPS. */
function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** A place in the arguments as JavaScript has it: `a.b[2]`. */
function path(steps) {
  return steps.map((step) => (typeof step === "number" ? `[${step}]` : `.${step}`)).join("").replace(/^\./, "");
}

/** Which field an error is about, and how it reads there. */
function located({ loc: [where, name, ...rest], msg }) {
  if (where === "query" && name === "cancel_after") return ["cancel-after", msg];
  if (where === "query" && name === "webhook") return [name, msg];
  if (where === "query" && name === "label") return ["labels", msg];
  if (where === "path" && (name === "method" || name === "chute_id")) return [name === "method" ? "method" : "chute", msg];
  if (where !== "body") return [null, msg];
  const at = name === undefined || typeof name === "number" ? "" : `${path([name, ...rest])}: `;
  return ["args", `${at}${msg}`];
}

/** Says why there is no job: at a field where that is possible. */
function tell(error) {
  const said = new Map();
  const say = (field, text) => said.set(field, [...(said.get(field) ?? []), text]);
  if (error.isOpen) {
    const why = error.status === 0 ? "No answer came." : error.message;
    say(null, `${why} Create it again: if it was created, that makes no second job.`);
  } else if (error.errors.length) {
    for (const it of error.errors) say(...located(it));
  } else if (error.status === 404) {
    say(error.message.includes("has no job named") ? "method" : "chute", error.message);
  } else if (error.status === 429 && error.message.includes("quota")) {
    const midnight = new Date().setUTCHours(24, 0, 0, 0);
    say(null, `${error.message}. The next day begins ${away(new Date(midnight).toISOString())}.`);
  } else {
    say([400, 413].includes(error.status) ? "args" : null, error.message);
  }
  for (const [field, texts] of said) if (field) wrong(field, texts.join(". "));
  if (said.has(null)) trouble("create", new Error(said.get(null).join(" ")));
  focusWrong();
}

async function submit(event) {
  event.preventDefault();
  if ($("create-job").disabled || !check()) return;
  const [request, signedIn] = [typed(), key.get()];
  open = { ...request, key: isOpen(request) ? open.key : newKey() };
  lacksWebhook = false;
  saveDraft();
  trouble("create", null);
  $("create-job").disabled = true;
  try {
    const { job_id: id } = await send(open);
    open = null;
    if (key.get() !== signedIn) return;
    notice("The job was created");
    if (place().name === "new") location.hash = `#/jobs/${id}`;
    else document.dispatchEvent(new Event("jobs-changed"));
  } catch (error) {
    if (!error.isOpen) open = null;
    if (error.status === 401) trouble("create", error);
    else if (key.get() === signedIn) tell(error);
  } finally {
    $("create-job").disabled = false;
    saveDraft();
  }
}

/** What was typed outlives the page, in its tab. Not a webhook's URL, which may be a secret: only that there was one. */
function saveDraft() {
  if (!key.get()) return;
  const fields = FIELDS.map((field) => (field === "webhook" ? "" : $(field).value));
  const hadWebhook = lacksWebhook || $("webhook").value.trim() !== "";
  const draft = { open: open && { ...open, webhook: open.webhook ? undefined : open.webhook }, fields, hadWebhook };
  try {
    sessionStorage.setItem(DRAFT, JSON.stringify(draft));
  } catch {
    // It has megabytes, more than the browser keeps.
    sessionStorage.removeItem(DRAFT);
  }
}

function loadDraft() {
  const draft = JSON.parse(sessionStorage.getItem(DRAFT) ?? "null");
  open = draft?.open ?? null;
  draft?.fields.forEach((value, index) => ($(FIELDS[index]).value = value));
  lacksWebhook = draft?.hadWebhook ?? false;
  if (lacksWebhook) $("webhook-wrong").textContent = "It is not kept when the page is loaded again, since it may be a secret: type it again.";
}

/** Nothing is left of what was typed, nor of its files. */
export function forgetDraft() {
  sessionStorage.removeItem(DRAFT);
  open = null;
  $("create").reset();
}

/** Suggests the chutes that are known, and the jobs of the one that was chosen. What does not change stays: it may be open. */
export function suggest(chutes) {
  const chosen = chutes.get($("chute").value.trim());
  const methods = new Set((chosen ? [chosen] : [...chutes.values()]).flatMap((it) => [...it.methods]));
  const all = { chutes: [...chutes].map(([id, { name }]) => [id, name]), methods: [...methods].map((name) => [name, name]) };
  for (const [list, values] of Object.entries(all)) {
    const made = element("datalist", { id: list }, values.map(([value, label]) => element("option", { value, label })));
    if (!$(list).isEqualNode(made)) $(list).replaceChildren(...made.children);
  }
}

$("create").addEventListener("submit", submit);
$("create").addEventListener("reset", () => {
  forgetInputs();
  lacksWebhook = false;
  for (const field of FIELDS) wrong(field, null);
  trouble("create", null);
});
for (const field of FIELDS) $(field).addEventListener("input", () => wrong(field, null));
$("args").addEventListener("change", () => {
  if ($("args").value.length <= CHECKED) wrong("args", objectError($("args").value)?.message);
});
addEventListener("pagehide", saveDraft);
loadDraft();
