// A job's webhook: what came of each try to tell its receiver that the job is over. What a receiver answered is shown as text.

import { getWebhook, pause, redeliverWebhook } from "./api.js";
import { button, element, time, until } from "./element.js";
import { $, act, again, news, notice, place, sameRound, trouble } from "./page.js";
import { fact } from "./view.js";

/** Milliseconds to the next look while it goes on: to the next try, or a tenth of the time since that or a change, within these bounds. */
const [SOONEST, LATEST] = [2000, 60_000];
/** What a delivery's state is called, and the class of its badge. */
const STATES = { pending: ["Pending", "running"], delivered: ["Delivered", "complete"], failed: ["Given up", "error"] };

/** The run of a job that is shown: its section of the page, its log as it came, and since when that is so. */
let shown = null;

/** A job's run: when it is tried again, its webhook has another log. */
const runOf = (job) => (job.terminal ? `${job.job_id} ${job.finished_at}` : job.job_id);
const isShown = (job) => place().id === job.job_id && shown?.run === runOf(job);

/** The section about a job's webhook, if it has one. It stays the same as long as the job's run is the same, with what is open in it. */
export function deliveries(job) {
  if (!job.webhook) return null;
  if (shown?.run !== runOf(job)) shown = { run: runOf(job), section: made(job), log: null, text: null, since: Date.now() };
  return shown.section;
}

function made(job) {
  const redeliver = job.terminal ? button("Deliver again", null, (it) => onRedeliver(job, it), "small") : null;
  const state = element("span", { id: "delivery-state" });
  return element(
    "section",
    { id: "deliveries", ariaLabel: "Webhook" },
    element("div", { className: "bar" }, element("h3", {}, "Webhook"), state, redeliver),
    element("dl", { id: "delivery-facts" }, facts(job)),
    element("p", { id: "delivery-about", className: "quiet" }, job.terminal ? "" : "It is told when the job is over."),
    element("ul", { id: "tries", className: "files" }),
  );
}

function facts(job, { webhook_id: id, next_try_at: next } = {}) {
  const code = (text) => text && element("code", {}, text);
  return [fact("URL", code(job.webhook)), fact("Webhook id", code(id)), fact("Next try", until(next))].flat();
}

/** Looks at the deliveries of a job that is over, and again until they are, too. */
export async function refreshDeliveries(job) {
  if (!isShown(job)) return;
  const isCurrent = sameRound();
  let [wait, failed] = [SOONEST, null];
  try {
    const log = await getWebhook(job.job_id);
    if (!isCurrent()) return;
    showLog(job, log);
    trouble("webhook", null);
    if (log.state === "delivered" || log.state === "failed") return;
    wait = untilLook(Date.parse(log.next_try_at));
  } catch (error) {
    // A job that is gone has no deliveries: whoever asks for it is told.
    if (!isCurrent()) return;
    trouble("webhook", error.status === 404 ? null : error);
    if (error.status === 404) return;
    failed = error;
  }
  again("webhook", pause("webhook", wait, failed), () => refreshDeliveries(job));
}

/** Milliseconds to the next look, where it is tried at that time. Hours may lie before it, in which nothing happens. */
function untilLook(next) {
  const ahead = next - Date.now();
  // While a try is under way, the next one stands a minute ahead.
  if (ahead > 2 * LATEST) return ahead;
  const since = ahead < 0 ? Math.max(shown.since, next) : shown.since;
  return Math.min(Math.max((Date.now() - since) / 10, SOONEST), LATEST);
}

/** Shows it where the job is shown. What did not change stays, and keeps focus and selection. */
function showLog(job, log) {
  const text = JSON.stringify(log);
  if (text === shown.text) return;
  const [name, badge] = STATES[log.state] ?? STATES.pending;
  if (shown.log && shown.log.state !== log.state) news(`Webhook: ${name}`);
  Object.assign(shown, { log, text, since: Date.now() });
  $("delivery-state").replaceChildren(element("span", { className: `badge ${badge}` }, name));
  $("delivery-facts").replaceChildren(...facts(job, log));
  $("delivery-about").textContent = log.deliveries.length ? "" : "It has not been tried yet.";
  const rows = new Map([...$("tries").children].map((it) => [it.dataset.at, it]));
  const newest = [...log.deliveries].reverse();
  for (const [at, it] of rows) if (!newest.some((tried) => tried.at === at)) it.remove();
  $("tries").prepend(...newest.filter((tried) => !rows.has(tried.at)).map(row));
}

/** A try: when, how long, and what the receiver answered, or why it did not. */
function row({ at, status, ms, body, error }) {
  const outcome = status === null ? "No answer" : `Status ${status}`;
  const took = `${ms.toLocaleString("en")} ms`;
  const made = element(
    "li",
    {},
    element("span", { className: "file" }, element("bdi", {}, outcome), element("span", { className: "quiet" }, time(at), ` · ${took}`)),
    error && element("p", { className: "wrong" }, error),
    body && element("details", {}, element("summary", { ariaLabel: `Answer of ${at}` }, "Answer"), element("pre", { tabIndex: 0, role: "region", ariaLabel: `Answer of ${at}` }, body)),
  );
  made.dataset.at = at;
  return made;
}

async function onRedeliver(job, it) {
  it.disabled = true;
  await act(async () => {
    const log = await redeliverWebhook(job.job_id);
    notice("The webhook is being delivered again");
    if (!isShown(job)) return;
    showLog(job, log);
    again("webhook", SOONEST, () => refreshDeliveries(job));
  });
  it.disabled = false;
  if (it.isConnected && document.activeElement === document.body) it.focus({ preventScroll: true });
}
