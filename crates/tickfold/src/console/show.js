// How things are written into the page. Text goes in as text and never as markup: names and bodies come from
// strangers.

/** An element with attributes and children; a text child becomes text. */
export function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

/** The same inside a picture. */
export function drawn(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((child) => child !== undefined && child !== null && child !== ""));
  return made;
}

/** A badge. Its colour is one of a few, whatever the word is; `of` is the word that decides it. */
export function badge(word, of = word) {
  const kinds = {
    good: ["delivered", "read", "played", "received", "active", "approved", "green", "open", "live"],
    bad: ["failed", "disabled", "rejected", "red", "restricted", "deleted", "refused", "disconnected", "offboarded"],
    warn: ["paused", "yellow", "flagged", "scheduled_for_disable", "late", "restoring", "starting", "failed_again"],
  };
  const found = Object.keys(kinds).find((kind) => kinds[kind].includes(String(of).toLowerCase()));
  return element("span", { class: `badge ${found || "plain"}` }, String(word));
}

/** Names and values; those that are absent are left out. */
export function table(rows) {
  const list = element("dl");
  for (const [name, value] of rows) {
    if (value === undefined || value === null || value === "") continue;
    list.append(element("dt", {}, name), element("dd", {}, typeof value === "object" ? value : String(value)));
  }
  return list;
}

/** The ends of an identifier: its middle has the phone number of a person. */
export function elided(text, shown) {
  if (shown || text.length <= 18) return text;
  return `${text.slice(0, 9)}…${text.slice(-6)}`;
}

/** Time of the day, and the date where it is not today's. */
export function time(text, precise = false) {
  if (!text) return "";
  const at = new Date(text);
  const clock = at.toISOString().slice(11, precise ? 23 : 19);
  const day = at.toISOString().slice(0, 10);
  return day === new Date().toISOString().slice(0, 10) ? `${clock}Z` : `${day} ${clock}Z`;
}

/** A length of time, as people say it. */
export function span(ms) {
  const units = [[86400000, "d"], [3600000, "h"], [60000, "min"], [1000, "s"]];
  for (const [size, unit] of units) {
    if (ms >= size) return `${(ms / size).toFixed(ms < 10 * size && unit !== "s" ? 1 : 0)} ${unit}`;
  }
  return `${Math.round(ms)} ms`;
}
