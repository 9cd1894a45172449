// A message as a picture: on the left what Meta says happened, at Meta's time; on the right the webhooks as they
// came, at log time, with what each changed. A line leads from one to the other. Lines that cross came out of order.

import { drawn, time, span } from "./show.js";

const TOP = 58;
/** Room for a label. */
const APART = 50;
const LONGEST = 64;
/** A line below a label. */
const LINE = 20;

/** What became of a record, in a word. */
const OUTCOMES = {
  RECORD_OUTCOME_NEW_FACT: "new",
  RECORD_OUTCOME_AMENDED: "amended",
  RECORD_OUTCOME_REPEATED: "duplicate",
  RECORD_OUTCOME_MENTIONED: "mentioned",
  RECORD_OUTCOME_BROKEN: "broken",
  RECORD_OUTCOME_ELSEWHERE: "elsewhere",
  RECORD_OUTCOME_DECIDED: "decided",
};

export function outcome(record) {
  const late = (record.transitions || []).some((one) => one.late);
  return late ? "late" : OUTCOMES[record.outcome] || "record";
}

/** What a record says, in Meta's words. */
export function words(record) {
  const said = [...new Set((record.items || []).map((item) => item.word).filter(Boolean))];
  return said.length > 0 ? said.join(", ") : record.kind || "record";
}

export function placeOf(record) {
  const source = record.source || {};
  return `${source.partition || 0}-${source.offset || 0}`;
}

function charged(charge) {
  if (charge.corrects) return "charge corrected";
  return charge.billable ? "charged" : "free";
}

/** What came of a record beside its facts. */
function consequences(record) {
  return [
    ...(record.charges || []).map((one) => ["charge", `${charged(one)}: ${one.category || "unknown"}`]),
    ...(record.actions || []).map((one) => ["action", one.superseded ? `${one.kind}, taken back` : one.kind]),
    ...(record.alerts || []).map((one) => ["alert", `alert ${one.kind}`]),
  ];
}

/** Everything that stands on one of the two lines, in the order of time. */
function instants(records) {
  const said = new Map();
  const all = [];
  for (const record of records) {
    all.push({ at: Date.parse(record.logTime), side: "right", record });
    for (const item of record.items || []) {
      if (!item.eventTime) continue;
      const key = `${item.word} ${item.eventTime}`;
      if (!said.has(key)) said.set(key, { at: Date.parse(item.eventTime), side: "left", word: item.word, records: [] });
      said.get(key).records.push(record);
    }
  }
  return [...said.values(), ...all].sort((a, b) => a.at - b.at || (a.side === "left" ? -1 : 1));
}

/** Heights: time flows down, and long waits are drawn short, with their length beside. */
function spread(all) {
  let y = TOP;
  let before;
  // Where the next one of a side may stand.
  const last = { left: TOP, right: TOP };
  const waits = [];
  for (const one of all) {
    const waited = before === undefined ? 0 : one.at - before.at;
    let next = y + Math.min(LONGEST, 7 * Math.log2(1 + waited / 250));
    next = Math.max(next, last[one.side]);
    if (before !== undefined && waited >= 60000) {
      next = Math.max(next, y + 54);
      waits.push({ y: (y + next) / 2, text: span(waited) });
    }
    one.y = next;
    last[one.side] = next + (one.record ? tall(one.record) : APART);
    before = one;
    y = next;
  }
  return { waits, end: Math.max(last.left, last.right) - APART };
}

/** What a record takes on its side. */
function tall(record) {
  return APART + consequences(record).length * LINE;
}

/** The picture. `choose` is called with a record. */
export function timeline(records, width, choose) {
  const all = instants(records);
  const { waits, end } = spread(all);
  const narrow = width < 560;
  const left = narrow ? 84 : Math.round(width * 0.24);
  const right = narrow ? 146 : Math.round(width * 0.54);
  const height = end + 60;
  const lanes = drawn("g", { class: "lanes" });
  for (const [x, name] of [[left, narrow ? "Meta" : "Meta says"], [right, narrow ? "tickfold" : "webhooks, as they came"]]) {
    lanes.append(
      drawn("text", { x, y: 22, "text-anchor": "middle", class: "lane" }, name),
      drawn("line", { x1: x, x2: x, y1: 34, y2: height - 22 }),
    );
  }
  const ways = drawn("g", { class: "ways" });
  const marks = drawn("g", {});
  const rightOf = new Map(all.filter((one) => one.record).map((one) => [one.record, one.y]));
  for (const one of all.filter((one) => !one.record)) {
    one.records.forEach((record, index) => {
      const kind = index > 0 ? "duplicate" : outcome(record);
      const [y1, y2] = [one.y, rightOf.get(record)];
      const [a, b] = [left + 9, right - 11];
      const middle = (a + b) / 2;
      ways.append(drawn("path", { class: kind, d: `M ${a} ${y1} C ${middle} ${y1}, ${middle} ${y2}, ${b} ${y2}` }));
    });
    marks.append(
      drawn("circle", { class: `said word-${known(one.word)}`, cx: left, cy: one.y, r: 7 }),
      drawn("text", { x: left - 18, y: one.y - 2, "text-anchor": "end", class: "word" }, one.word),
      drawn("text", { x: left - 18, y: one.y + 15, "text-anchor": "end", class: "when" }, clock(new Date(one.at).toISOString(), narrow, false)),
    );
  }
  for (const wait of waits) {
    marks.append(drawn("text", { x: left, y: wait.y + 4, "text-anchor": "middle", class: "wait" }, wait.text));
  }
  for (const one of all.filter((one) => one.record)) marks.append(mark(one, right, width, narrow, choose));
  const picture = drawn(
    "svg",
    { viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "Timeline: what Meta says on the left, webhooks as they came on the right" },
    lanes, ways, marks,
  );
  return picture;
}

/** A webhook: a button, by mouse and by keyboard. */
function mark({ record, y }, x, width, narrow, choose) {
  const kind = outcome(record);
  const transition = (record.transitions || []).at(-1);
  const state = transition ? transition.stateText : "";
  const shown = state ? `state ${state}` : "changes nothing shown";
  const group = drawn("g", {
    class: `record ${kind}`,
    tabindex: 0,
    role: "button",
    "data-place": placeOf(record),
    "aria-label": `${words(record)}, ${kind}, ${shown}, ${time(record.logTime, true)}: show the webhook`,
  });
  group.append(
    drawn("rect", { class: "target", x: x - 16, y: y - 22, width: width - x + 12, height: tall(record) - 6, rx: 8 }),
    drawn("circle", { class: "came", cx: x, cy: y, r: 8 }),
    drawn("text", { x: x + 20, y: y - 2, class: "word" }, words(record), drawn("tspan", { class: `kind ${kind}`, dx: 8 }, kind === "new" ? "" : kind)),
    drawn("text", { x: x + 20, y: y + 15, class: "when" }, `${clock(record.logTime, narrow, true)}${narrow ? "" : `  ${shown}`}`),
  );
  consequences(record).forEach(([what, text], index) => {
    const [cx, cy] = [x + 26, y + 32 + index * LINE];
    group.append(
      drawn("path", { class: what, d: `M ${cx} ${cy - 6} l 6 6 l -6 6 l -6 -6 z` }),
      drawn("text", { x: cx + 12, y: cy + 4, class: `consequence ${what}` }, narrow ? text.split(": ")[0] : text),
    );
  });
  group.addEventListener("click", () => choose(record));
  group.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    choose(record);
  });
  return group;
}

function clock(text, narrow, precise) {
  const whole = time(text, precise);
  return narrow ? whole.slice(-(precise ? 13 : 9)) : whole;
}

function known(word) {
  return ["sent", "delivered", "read", "played", "failed", "pending"].includes(word) ? word : "other";
}
