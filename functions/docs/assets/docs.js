// The reference: Swagger UI over this server's own description. It asks nobody else, and forgets credentials with the page.
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
dark.addEventListener("change", follow);
follow();

const LANDMARKS = {
  ".information-container": "About",
  ".scheme-container": "Server and credentials",
  ".models": "Schemas",
};

/** What Swagger UI leaves out for readers of screens, by axe-core's rules. */
function repair() {
  const each = (selector, change) => document.querySelectorAll(`#reference ${selector}`).forEach(change);
  // Landmarks around what is not in its `main`.
  for (const [selector, name] of Object.entries(LANDMARKS)) {
    each(`${selector}:not([role])`, (it) => Object.assign(it, { role: "region", ariaLabel: name }));
  }
  // The titles' levels leave one out.
  for (const level of [3, 4, 5]) each(`h${level}:not([aria-level])`, (it) => (it.ariaLevel = String(level - 1)));
  // A link inside of a button; the button does the same.
  each(".opblock-summary-control a[href]", (it) => it.removeAttribute("href"));
  each("select:not([aria-label])", (it) => {
    it.ariaLabel = it.id === "servers" ? "Server" : it.className.includes("example") ? "Example" : "Value";
  });
  each("textarea:not([aria-label])", (it) => (it.ariaLabel = "Request body"));
  each("pre:not([tabindex])", (it) => (it.tabIndex = 0));
}
new MutationObserver(repair).observe(document.getElementById("reference"), { childList: true, subtree: true });

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
});
