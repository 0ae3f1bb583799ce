// What was used of the day's quotas.

import { getUsage } from "./api.js";
import { element, time } from "./element.js";
import { $, sameRound, trouble } from "./page.js";

const count = (number) => number.toLocaleString("en");

/** A quota: how much of it was used, as a bar and in words. A browser cuts off what is more than all, and takes nothing for one. */
function row(name, id, { used, quota }) {
  const words = `${count(used)} of ${count(quota)} jobs`;
  const bar = element("progress", { max: quota, value: used, ariaLabel: `${name}: ${words}` }, words);
  if (used >= quota) bar.className = "full";
  const code = id && element("code", { className: "quiet" }, id);
  return element("li", {}, element("div", { className: "bar" }, element("bdi", {}, name), element("span", {}, words)), bar, code);
}

/** Shows it. `nameOf` tells a chute's name, if somebody knows it. */
export async function showUsage(nameOf) {
  const isCurrent = sameRound();
  try {
    const { day, resets_at: resets, global, chutes } = await getUsage();
    if (!isCurrent()) return;
    const named = Object.entries(chutes).map(([id, used]) => [nameOf(id) ?? "Chute", id, used]);
    named.sort(([a, , { used: x }], [b, , { used: y }]) => y - x || a.localeCompare(b));
    $("usage-day").replaceChildren(`Jobs that were created or retried on ${day} (UTC). The next day begins `, time(resets), ".");
    $("usage-rows").replaceChildren(row("All chutes", null, global), ...named.map((it) => row(...it)));
    trouble("usage", null);
  } catch (error) {
    if (isCurrent()) trouble("usage", error);
  }
}
