// A notice of an API key that ends soon.

import { until } from "./element.js";
import { $ } from "./page.js";

/** Milliseconds before its end from which on it is told: two weeks. */
const SOON = 14 * 24 * 60 * 60 * 1000;

/** The end that the last answer told. */
let told = null;

/** Shows it once for each end, however many answers tell it. */
function tell(end) {
  // Of null, which is a key without an end, `Date.parse` makes NaN, which is not less than anything.
  if (!(Date.parse(end) - Date.now() <= SOON)) return forgetKeyEnd();
  if (end === told) return;
  told = end;
  $("key-end").hidden = false;
  $("key-end-said").replaceChildren("This API key ends on ", ...until(end), ".");
}

/** Nothing is left of it. */
export function forgetKeyEnd() {
  told = null;
  hide();
}

function hide() {
  $("key-end").hidden = true;
  $("key-end-said").replaceChildren();
}

$("key-end-dismiss").addEventListener("click", () => {
  hide();
  // The button is gone: the focus goes to what stands before it.
  document.querySelector("h1 a").focus();
});
document.addEventListener("key-end", ({ detail }) => tell(detail));
