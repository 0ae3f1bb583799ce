// What a program has printed, as text: without what steers a terminal, wherever it is cut.

/** Characters that begin a control sequence, by ECMA-48, and what follows them. */
const BEGINS = { "\x1b": "escape", "\x9b": "control", "\x90": "string", "\x98": "string", "\x9d": "string", "\x9e": "string", "\x9f": "string" };
/** The same after an escape character. */
const GOES_ON = { "[": "control", P: "string", X: "string", "]": "string", "^": "string", _: "string" };
/** What belongs to each of them, up to the character that decides. A string, such as a title or a link, ends with its line at the latest. */
const BODY = { text: /[^\x1b\x90\x98\x9b\x9d-\x9f]*/y, escape: /[ -/]*/y, control: /[ -?]*/y, string: /[^\x07\x18\x1a\x1b\x9c\n\r]*/y };
/** What ends it, and is part of it. Anything else is text again. */
const END = { text: /^$/, escape: /[0-~]/, control: /[@-~]/, string: /[\x07\x18\x1a\x9c]/ };

export class Printed {
  #decoder = new TextDecoder();
  #state = "text";
  #isReturn = false;

  /** The text of the next bytes. A line that is written over, as progress bars do, is a line of its own. */
  pass(bytes) {
    const text = this.#decoder.decode(bytes, { stream: true });
    let shown = this.#isReturn ? "\r" : "";
    for (let at = 0; at < text.length; ) {
      const body = BODY[this.#state];
      body.lastIndex = at;
      const [found] = body.exec(text);
      if (this.#state === "text") shown += found;
      at += found.length;
      if (at < text.length && this.#takes(text[at])) at += 1;
    }
    // What follows it may be the line's end.
    this.#isReturn = shown.endsWith("\r");
    return shown.replace(/\r+$/, "").replace(/\r+\n?/g, "\n");
  }

  /** Whether a character is part of a control sequence, and not text. */
  #takes(char) {
    const next = BEGINS[char] ?? (this.#state === "escape" ? GOES_ON[char] : undefined);
    const takes = next !== undefined || END[this.#state].test(char);
    this.#state = next ?? "text";
    return takes;
  }
}
