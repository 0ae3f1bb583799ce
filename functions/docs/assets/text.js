// Text that others wrote, as it is: JSON in its own spelling, and characters that nobody sees made visible.

/**
 * Characters that show nothing, or that turn round what stands beside them: `gpj.exe` with U+202E before it reads `exe.jpg`. The
 * space, the line's end and the tab are left alone.
 */
const UNSEEN = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u2800]|(?! )\p{Zs}/gu;

const escaped = (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;

/** The text with such characters as JSON escapes them. */
export function visible(text) {
  return text.replace(UNSEEN, (found) => (found === "\n" || found === "\t" ? found : [...found.split("")].map(escaped).join("")));
}

/** Strings, punctuation, and numbers or words: for text that `JSON.parse` has taken. */
const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/** The members of a JSON object as they are written, by name. `JSON.parse` rounds large numbers and sorts keys that are numbers. */
export function members(text) {
  const found = new Map();
  let [depth, name, start] = [0, null, 0];
  for (const { 0: token, index } of text.matchAll(TOKENS)) {
    if (depth === 1 && (token === "," || token === "}")) {
      if (name !== null) found.set(name, text.slice(start, index).trim());
      name = null;
    } else if (depth === 1 && name === null) {
      name = JSON.parse(token);
    } else if (depth === 1 && token === ":") {
      start = index + 1;
    }
    if (token === "{" || token === "[") depth += 1;
    if (token === "}" || token === "]") depth -= 1;
  }
  return found;
}

/** JSON on lines of its own, each token as it is written. */
export function pretty(text) {
  const shown = [];
  let [depth, before] = [0, null];
  const line = () => `\n${"  ".repeat(depth)}`;
  for (const [token] of text.matchAll(TOKENS)) {
    const opens = before === "{" || before === "[";
    if (token === "}" || token === "]") {
      depth -= 1;
      if (!opens) shown.push(line());
    } else if (opens || before === ",") {
      shown.push(line());
    } else if (before === ":") {
      shown.push(" ");
    }
    shown.push(token);
    if (token === "{" || token === "[") depth += 1;
    before = token;
  }
  return shown.join("");
}
