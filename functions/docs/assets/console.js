// The console: who is signed in, and where they are.

import { key } from "./api.js";
import { forgetDraft, suggest } from "./create.js";
import { expectJob, leaveJob, refreshJob, shownJob } from "./job.js";
import { forgetList, forgetOwner, knownChutes, knownJob, refreshList, showList } from "./list.js";
import { forgetKeyEnd } from "./key-end.js";
import { $, forgetTroubles, news, nextRound, notice, place, stopLooking, trouble } from "./page.js";
import { hideSecret } from "./settings.js";
import { showUsage } from "./usage.js";

/** The sections beside the list, by the places where they are shown, and what takes the focus there. */
const SECTIONS = { new: ["create", "create-title"], usage: ["usage", "usage-title"], settings: ["settings", "settings-title"] };

/** After a look at the list: the job is looked at before its own time, since it has changed. */
function onListed() {
  const [job, listed] = [shownJob(), knownJob(shownJob()?.job_id)];
  if (listed && !job.terminal && listed.status !== job.status) refreshJob();
  suggest(knownChutes());
}

/** Goes where the address says. */
function move() {
  const left = shownJob()?.job_id;
  $("confirm").close();
  trouble("job", null);
  trouble("action", null);
  trouble("usage", null);
  trouble("webhook", null);
  const { name } = place();
  expectJob(name === "job");
  navigate();
  showList();
  if (SECTIONS[name]) $(SECTIONS[name][1]).focus({ preventScroll: true });
  if (name === "list" && left) $("list").querySelector(`[data-job="${left}"]`)?.focus({ preventScroll: true });
}

/** Shows what the address says. */
function navigate() {
  nextRound();
  const [signedIn, { name, id }] = [key.get() !== null, place()];
  $("sign-in").hidden = signedIn;
  $("jobs").hidden = !signedIn;
  for (const it of ["menu", "sign-out"]) $(it).hidden = !signedIn;
  document.body.classList.toggle("one-job", name !== "list");
  for (const [where, [section]] of Object.entries(SECTIONS)) {
    $(section).hidden = name !== where;
    $(`to-${where}`).ariaCurrent = name === where ? "page" : null;
  }
  leaveJob(id);
  if (!signedIn || name !== "settings") hideSecret();
  if (!signedIn) return $("key").focus();
  refreshList(onListed);
  refreshJob();
  if (name === "usage") showUsage((chute) => knownChutes().get(chute)?.name);
}

/** Forgets the key and what it has shown. What was typed is kept for a key that works, unless somebody wants to go. */
function signOut(why) {
  key.forget();
  forgetKeyEnd();
  forgetOwner();
  if (!why) forgetDraft();
  stopLooking();
  leaveJob(null);
  location.hash = "#/";
  showList();
  $("usage-rows").replaceChildren();
  $("open").reset();
  news("");
  notice("");
  navigate();
  // Not for the next who signs in.
  forgetTroubles();
  trouble("sign-in", why ? new Error(why) : null);
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  key.set($("key").value.trim());
  $("key").value = "";
  trouble("sign-in", null);
  navigate();
});
$("open").addEventListener("submit", (event) => {
  event.preventDefault();
  // However it is spelt.
  const digits = $("id").value.trim().toLowerCase().replaceAll("-", "");
  const parts = digits.match(/^([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/);
  trouble("action", parts ? null : new Error("A job's id has 32 digits, as in 01234567-89ab-4cde-8f01-23456789abcd."));
  if (parts) location.hash = `#/jobs/${parts.slice(1).join("-")}`;
});
$("sign-out").addEventListener("click", () => signOut());
$("chute").addEventListener("change", () => suggest(knownChutes()));
for (const filter of ["filter", "label"]) {
  $(filter).addEventListener("change", () => {
    forgetList();
    navigate();
  });
}
addEventListener("hashchange", move);
document.addEventListener("jobs-changed", navigate);
document.addEventListener("unknown-key", () => signOut("The API does not know this key."));
document.addEventListener("visibilitychange", () => document.hidden || navigate());
navigate();
