// What somebody sets for all of their jobs: the secret that signs their webhooks.

import { getSecret, key, replaceSecret } from "./api.js";
import { until } from "./element.js";
import { $, act, ask, copy, notice } from "./page.js";

/** Counts what was asked for, and hidden: an answer to anything but the last is not shown. */
let latest = 0;

/** Nothing of it is left on the page, nor comes later. */
export function hideSecret() {
  latest += 1;
  $("secret").textContent = "";
  $("secret-former").textContent = "";
  turn(false);
}

function turn(isShown) {
  $("secret").hidden = $("secret-copy").hidden = !isShown;
  $("secret-show").textContent = isShown ? "Hide the secret" : "Show the secret";
  $("secret-show").ariaExpanded = String(isShown);
}

function show({ secret, previous_until: former }) {
  $("secret").textContent = secret;
  const parts = former ? ["The former secret signs beside it until ", ...until(former), "."] : [];
  $("secret-former").replaceChildren(...parts);
  turn(true);
}

/** Asks for a secret by a button that rests meanwhile, and shows it. */
async function showBy(button, request) {
  latest += 1;
  const mine = latest;
  button.disabled = true;
  await act(async () => {
    const answer = await request();
    if (mine === latest) show(answer);
  });
  button.disabled = false;
  if (document.activeElement === document.body) button.focus({ preventScroll: true });
}

async function replace() {
  const asked = key.get();
  // From now on, what is shown may be the former one.
  hideSecret();
  await showBy($("secret-replace"), async () => {
    try {
      const answer = await replaceSecret();
      if (key.get() === asked) notice("Webhooks are signed with a new secret");
      return answer;
    } catch (error) {
      if (error.isOpen) error.message = "No answer came. The secret may be a new one: show it to see.";
      throw error;
    }
  });
}

$("secret-show").addEventListener("click", () => {
  if ($("secret").hidden) return showBy($("secret-show"), getSecret);
  return hideSecret();
});
$("secret-copy").addEventListener("click", () => copy("Webhook secret", $("secret").textContent));
$("secret-replace").addEventListener("click", () => {
  const text = "For 24 hours, webhooks are signed with the former one, too. Give receivers the new one in that time.";
  ask({ title: "Make a new webhook secret?", text, no: "Keep it", yes: "Make a new one" }, replace);
});
