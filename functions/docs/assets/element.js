// Elements, and how sizes and times read. Everything that others wrote is set as text, never as HTML.

import { visible } from "./text.js";

const shown = (it) => (typeof it === "string" ? visible(it) : it);

/** An element with properties and children; null children are left out. Whatever a text says, all of it can be seen. */
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [property, value] of Object.entries(properties)) made[property] = shown(value);
  made.append(...children.flat().filter((child) => child !== null && child !== undefined).map(shown));
  return made;
}

/** A button; `label` is read out in place of its text. */
export function button(name, label, onClick, className = "") {
  const made = element("button", { type: "button", ariaLabel: label, className }, name);
  made.addEventListener("click", () => onClick(made));
  return made;
}

export function bytes(size) {
  if (size === null || size === undefined) return "";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? size : size.toFixed(1)} ${units[unit]}`;
}

const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

/** How far a time is from now: "3 hours ago", "in 2 days". */
export function away(text) {
  const seconds = (Date.parse(text) - Date.now()) / 1000;
  for (const [unit, length] of UNITS) {
    if (Math.abs(seconds) >= length) return new Intl.RelativeTimeFormat("en").format(Math.trunc(seconds / length), unit);
  }
  return seconds > 0 ? "in a moment" : "just now";
}

export function duration(milliseconds) {
  const seconds = Math.max(0, Math.round(milliseconds / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

export function time(text) {
  return element("time", { dateTime: text, title: text }, away(text));
}

/** A time to come: as a clock shows it here, and how far it is away. */
export function until(text) {
  if (!text) return null;
  const [dateStyle, timeStyle] = ["medium", "short"];
  return [new Date(text).toLocaleString("en-GB", { dateStyle, timeStyle }), " (", time(text), ")"];
}

/** Lets time pass in what is shown. */
export function passTime() {
  for (const it of document.querySelectorAll("time")) {
    if (it.textContent !== away(it.dateTime)) it.textContent = away(it.dateTime);
  }
}
