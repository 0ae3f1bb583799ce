// JSON that somebody types: which strings it has, and where it stops being JSON. Browsers tell that in words of their own, or not at all.

import { endOfString } from "./text.js";

const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const WORD = /true|false|null/y;
/** A piece of a string: one expression for all of it would need too large a stack where it has megabytes. */
const PIECE = /[^"\\\u0000-\u001f]+|\\(?:["\\/bfnrt]|u[\da-fA-F]{4})/y;

/** Where what the expression means ends, if it begins at `at`. */
function end(expression, text, at) {
  expression.lastIndex = at;
  return expression.test(text) ? expression.lastIndex : null;
}

/** Where the string that begins at `at` ends, or `{ bad }`, where it can't go on. */
function string(text, at) {
  let next = at + 1;
  for (let after = next; after !== null; after = end(PIECE, text, next)) next = after;
  return text[next] === '"' ? { end: next + 1 } : { bad: next };
}

function scalar(text, at) {
  if (text[at] === '"') return string(text, at);
  const after = end(WORD, text, at) ?? end(NUMBER, text, at);
  return after === null ? { bad: at } : { end: after };
}

/** The offset of the first character that JSON can't have there, for a text that `JSON.parse` has refused. */
export function firstError(text) {
  const open = [];
  let [at, wants] = [0, "value"];
  for (;;) {
    at = end(SPACE, text, at);
    const char = text[at];
    if (wants === "end" && !open.length) return at;
    if (wants === "end" && char === ",") {
      wants = open.at(-1) === "{" ? "key" : "value";
    } else if ((wants === "end" || wants.endsWith("first")) && char === (open.at(-1) === "{" ? "}" : "]")) {
      open.pop();
      wants = "end";
    } else if (wants.startsWith("value") && (char === "{" || char === "[")) {
      open.push(char);
      wants = char === "{" ? "key, the first" : "value, the first";
    } else if (wants === "colon" && char === ":") {
      wants = "value";
    } else if (wants === "end" || wants === "colon" || (wants.startsWith("key") && char !== '"')) {
      return at;
    } else {
      const found = scalar(text, at);
      if (found.bad !== undefined) return found.bad;
      wants = wants.startsWith("key") ? "colon" : "end";
      at = found.end;
      continue;
    }
    at += 1;
  }
}

/** A place as people count: from 1. */
export function lineAndColumn(text, at) {
  const before = text.slice(0, at).split("\n");
  return { line: before.length, column: before.at(-1).length + 1 };
}

/** Where a JSON text, which may have errors, has one of these strings as a value and not as a key, however it is spelt. */
export function* placesOf(strings, text) {
  for (let start = text.indexOf('"'); start >= 0; ) {
    const stop = endOfString(text, start);
    const string = text[end(SPACE, text, stop)] === ":" ? null : read(text.slice(start, stop));
    if (strings.has(string)) yield { string, start, end: stop };
    start = text.indexOf('"', stop);
  }
}

function read(token) {
  try {
    return JSON.parse(token);
  } catch {
    return null;
  }
}

/** What is wrong with a text that should be a JSON object, or be empty: `{ message, at }`; null when nothing is. */
export function objectError(text) {
  if (!text.trim()) return null;
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    const at = firstError(text);
    const { line, column } = lineAndColumn(text, at);
    const what = at >= text.length ? "It ends too early" : `Unexpected ${JSON.stringify(String.fromCodePoint(text.codePointAt(at)))}`;
    return { message: `This is not JSON. ${what}: line ${line}, column ${column}.`, at };
  }
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject ? null : { message: "The arguments have to be a JSON object: {…}.", at: text.search(/\S/) };
}
