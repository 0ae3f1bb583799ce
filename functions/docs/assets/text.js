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

/** Where the string that begins at `start` ends. It may have megabytes, for which a regular expression's stack is too small. */
export function endOfString(text, start) {
  for (let end = text.indexOf('"', start + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let backslashes = 0;
    while (text[end - 1 - backslashes] === "\\") backslashes += 1;
    if (backslashes % 2 === 0) return end + 1;
  }
  return text.length;
}

/**
 * The members of a JSON object as they are written, by name: for text that `JSON.parse` has taken. That rounds large numbers and sorts
 * keys that are numbers.
 */
export function members(text) {
  const found = new Map();
  let [depth, name, start] = [0, null, 0];
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (char === '"') {
      const end = endOfString(text, at);
      if (depth === 1) name ??= JSON.parse(text.slice(at, end));
      at = end - 1;
    } else if (depth === 1 && char === ":") {
      start = at + 1;
    } else if (depth === 1 && (char === "," || char === "}")) {
      if (name !== null) found.set(name, text.slice(start, at).trim());
      name = null;
    }
    if (char === "{" || char === "[") depth += 1;
    if (char === "}" || char === "]") depth -= 1;
  }
  return found;
}

/** Strings, of which the last may be cut, punctuation, and numbers or words. */
const TOKENS = /"(?:[^"\\]|\\.)*(?:"|\\?$)|[{}[\],:]|[^\s{}[\],:"]+/g;

/** JSON on lines of its own, each token as it is written. No more than the first `most` characters are looked at, or made. */
export function pretty(text, most) {
  let [shown, depth, before] = ["", 0, null];
  const line = () => `\n${"  ".repeat(depth)}`;
  for (const [token] of text.slice(0, most).matchAll(TOKENS)) {
    const opens = before === "{" || before === "[";
    if (token === "}" || token === "]") {
      depth -= 1;
      if (!opens) shown += line();
    } else if (opens || before === ",") {
      shown += line();
    } else if (before === ":") {
      shown += " ";
    }
    shown += token;
    if (shown.length > most) break;
    if (token === "{" || token === "[") depth += 1;
    before = token;
  }
  return shown.slice(0, most);
}
