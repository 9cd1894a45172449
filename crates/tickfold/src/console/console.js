// The console: search a message and see why it is as it is; what changes now; how far the partitions are. It reads
// and changes nothing. Personal data is asked for only while the button says so, and told only to a token that may.

import { Refused, events, get, path, useToken, watch } from "./api.js";
import { badge, elided, element, span, table, time } from "./show.js";
import { outcome, placeOf, timeline, words } from "./timeline.js";

const LIVE_MAX = 40;
const STATUS_EVERY = 5000;

const at = (id) => document.getElementById(id);
const state = { personal: false, wanted: "", search: new AbortController(), live: new AbortController(), paused: false, redraw: undefined };

/** Replaces what stands in a place. */
function put(id, ...children) {
  const place = at(id);
  place.classList.remove("quiet");
  place.replaceChildren(...children);
}

function quiet(id, text) {
  put(id, element("p", {}, text));
  at(id).classList.add("quiet");
}

function notice(text) {
  at("notice").textContent = text;
}

/** What a failure means for a person. */
function explained(error) {
  if (!(error instanceof Refused)) return "The node cannot be reached.";
  if (error.code === 401) return "The node asks for a token: put one in above.";
  if (error.reason === "SCOPE_MISSING") return `The token has no scope ${error.scope}.`;
  return error.advice ? `${error.message}. ${error.advice}` : error.message;
}

// --- search -----------------------------------------------------------------------------------------------------

async function search(wanted) {
  state.wanted = wanted;
  state.search.abort();
  state.redraw = undefined;
  const { signal } = (state.search = new AbortController());
  if (wanted === "") return;
  notice("");
  const [number, party, ...more] = wanted.split(/\s+/);
  try {
    if (party && more.length === 0) await searchConversation(number, party, signal);
    else await searchMessage(wanted, signal);
  } catch (error) {
    if (signal.aborted) return;
    quiet("message-body", explained(error));
    quiet("standing-body", "");
    notice(explained(error));
  }
}

async function searchMessage(wamid, signal) {
  quiet("message-body", "Asking…");
  const view = state.personal ? "MESSAGE_VIEW_HISTORY" : "MESSAGE_VIEW_BASIC";
  const { message } = await get(path(["messages", wamid], { view }), signal);
  at("message-title").textContent = "Message";
  const records = element("div", { id: "picture" }, element("p", { class: "quiet" }, "Reading the log…"));
  const detail = element("div", { id: "detail", tabindex: -1 });
  put("message-body", summary(message), records, detail);
  at("message").focus({ preventScroll: true });
  await Promise.all([explain(wamid, records, detail, signal), around(message, signal)]);
}

function summary(message) {
  const charge = message.charge;
  const heading = element("div", { class: "heading" },
    element("span", { class: "id", id: "wamid" }, elided(message.wamid, state.personal)),
    badge(message.stateText || "unknown"),
    element("span", { class: "soft" }, (message.direction || "").replace("MESSAGE_DIRECTION_", "").toLowerCase()));
  const rows = [
    ["Template", message.templateId],
    ["Type", message.messageType],
    ["Error", message.errorCode],
    ["Charge", charge && `${charge.billable ? "billable" : "free"}, ${charge.category}, ${charge.type}, ${charge.month}`],
    ["Actions", (message.actions || []).map((one) => one.kind).join(", ")],
    ["Alerts", (message.alerts || []).map((one) => one.kind).join(", ")],
    ["Party", (message.parties || []).join(", ")],
    ["Callback data", message.callbackData],
    ["Error text", (message.errors || []).map((one) => one.title).filter(Boolean).join(", ")],
  ];
  return element("div", { class: "summary" }, heading, table(rows));
}

/** The records that touched a message, as a picture; a chosen one beside it. */
async function explain(wamid, place, detail, signal) {
  const view = state.personal ? "MESSAGE_VIEW_FULL" : "MESSAGE_VIEW_BASIC";
  const records = [];
  const charges = new Set();
  let end;
  try {
    for await (const { data } of events(path(["messages", wamid, "explanation"], { view }), signal)) {
      if (data.end) end = data.end;
      if (!data.record) continue;
      records.push(data.record);
      // A charge is told once, and again where something later corrects it.
      for (const charge of data.record.charges || []) {
        charge.corrects = charges.has(charge.chargeId);
        charges.add(charge.chargeId);
      }
    }
  } catch (error) {
    if (!signal.aborted) place.replaceChildren(element("p", { class: "quiet" }, explained(error)));
    return;
  }
  const draw = () => {
    const width = Math.max(300, Math.floor(place.clientWidth));
    const choose = (record) => chosen(record, place, detail, signal);
    const parts = [timeline(records, width, choose), legend(records)];
    if (end && !end.complete) parts.push(element("p", { class: "quiet" }, "The log was not read to its end before the deadline: there may be more."));
    place.replaceChildren(...parts);
  };
  state.redraw = draw;
  draw();
}

function legend(records) {
  const counts = new Map();
  for (const record of records) counts.set(outcome(record), (counts.get(outcome(record)) || 0) + 1);
  const meaning = { new: "told something new", late: "came late", duplicate: "was known", amended: "told more of it", decided: "decided something", mentioned: "named it", broken: "could not be read", elsewhere: "belongs elsewhere" };
  return element("p", { class: "legend" }, ...[...counts].map(([kind, count]) =>
    element("span", { class: kind }, element("b", {}, String(count)), ` ${meaning[kind] || kind}`)));
}

function chosen(record, picture, detail, signal) {
  for (const one of picture.querySelectorAll(".record")) {
    one.classList.toggle("chosen", one.dataset.place === placeOf(record));
  }
  const learned = (record.learned || []).map((fact) => element("li", {}, fact.value ? `${fact.name}: ${fact.value}` : fact.name));
  const raw = element("div", { id: "raw" });
  const show = element("button", { type: "button", id: "show-raw" }, "Show the raw body");
  show.addEventListener("click", () => rawBody(record, raw, signal));
  detail.replaceChildren(
    element("h3", {}, `${words(record)} `, element("span", { class: `kind ${outcome(record)}` }, outcome(record))),
    table([
      ["Raw record", `partition ${(record.source || {}).partition || 0}, offset ${(record.source || {}).offset || 0}`],
      ["Received", time(record.receivedTime, true)],
      ["In the log", time(record.logTime, true)],
      ["Request", record.requestId],
      ["Learned", learned.length > 0 && element("ul", {}, ...learned)],
    ]),
    show, raw);
  detail.focus({ preventScroll: true });
  detail.scrollIntoView({ block: "nearest" });
}

let rawTopic = "";

async function rawBody(record, place, signal) {
  if (!state.personal) {
    place.replaceChildren(element("p", { class: "quiet" }, "A raw body is personal data: show personal data first, by the button above."));
    return;
  }
  try {
    if (!rawTopic) {
      const { topics } = await get(path(["topics"]), signal);
      rawTopic = ((topics || []).find((topic) => topic.name.endsWith(".webhook.raw.v1")) || {}).name;
    }
    const { partition = 0, offset = 0 } = record.source || {};
    const where = path(["topics", rawTopic, "records"], {
      partitions: partition, "fromPositions.positions": `${partition}:${offset}`, limit: 1, untilEnd: true,
    });
    for await (const { data } of events(where, signal)) {
      const bytes = Uint8Array.from(atob(data.record.value || ""), (one) => one.charCodeAt(0));
      const text = new TextDecoder().decode(bytes);
      const body = element("pre", { id: "body", tabindex: 0, "aria-label": "Raw body" }, pretty(text));
      place.replaceChildren(element("p", { class: "soft" }, `${bytes.length} bytes, as Meta sent them`), body);
    }
  } catch (error) {
    if (!signal.aborted) place.replaceChildren(element("p", { class: "quiet" }, explained(error)));
  }
}

/** JSON with line breaks; what is none stays as it came. */
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

// --- around a message -------------------------------------------------------------------------------------------

async function searchConversation(number, party, signal) {
  quiet("message-body", "Asking…");
  const view = state.personal ? "MESSAGE_VIEW_FULL" : "MESSAGE_VIEW_BASIC";
  const reply = await get(path(["conversations", number, party], { messageCount: 20, messageView: view }), signal);
  at("message-title").textContent = "Conversation";
  put("message-body", conversation(reply.conversation), element("ol", { class: "rows" }, ...(reply.messages || []).map(row)));
  await around({ phoneNumberId: number, wabaId: reply.conversation.wabaId, known: true }, signal);
}

/** A message in a list, which opens it. */
function row(message) {
  const button = element("button", { type: "button", class: "row" },
    element("span", { class: "when" }, time(message.listTime)),
    element("span", { class: "id" }, elided(message.wamid, state.personal)), badge(message.stateText || "unknown"));
  button.addEventListener("click", () => open(message.wamid));
  return element("li", {}, button);
}

function open(wamid) {
  at("wanted").value = wamid;
  search(wamid);
}

function conversation(it) {
  const window = (it.windowState || "WINDOW_STATE_NEVER").replace("WINDOW_STATE_", "").toLowerCase();
  const free = (it.freeEntryState || "").replace("WINDOW_STATE_", "").toLowerCase();
  return element("div", { class: "card" },
    element("h3", {}, "Conversation ", badge(window === "never" ? "no window" : `window ${window}`, window)),
    table([
      ["Party", state.personal ? (it.parties || []).join(", ") : "hidden"],
      [window === "open" ? "Closes" : "Closed", time(it.windowExpireTime)],
      ["Free entry", free && `${free}, until ${time(it.freeEntryExpireTime)}`],
      ["Last inbound", time(it.lastInboundTime)],
      ["Last outbound", time(it.lastOutboundTime)],
      ["Messages", `${it.inboundCount || 0} in, ${it.outboundCount || 0} out`],
    ]));
}

async function around(message, signal) {
  quiet("standing-body", "Asking…");
  const cards = [];
  const add = async (ask, card) => {
    try {
      cards.push(card(await ask));
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      // What was never told of is not there; that is no trouble.
      if (error.code !== 404) cards.push(element("p", { class: "quiet" }, explained(error)));
    }
  };
  if (message.phoneNumberId && message.party) {
    await add(get(path(["conversations", message.phoneNumberId, message.party]), signal), (reply) => conversation(reply.conversation));
  } else if (!message.known) {
    cards.push(element("p", { class: "quiet" }, "Its conversation names a person: show personal data to see the window."));
  }
  if (message.phoneNumberId) await add(get(path(["numbers", message.phoneNumberId]), signal), (reply) => number(reply.number));
  if (message.wabaId) {
    await add(get(path(["accounts", message.wabaId]), signal), (reply) => account(reply.account));
    await add(get(path(["templates"], { wabaId: message.wabaId, pageSize: 50 }), signal), (reply) => templates(reply.templates || [], message));
  }
  put("standing-body", ...cards);
}

function number(it) {
  const standing = it.standing || {};
  return element("div", { class: "card" },
    element("h3", {}, "Number ", badge(standing.state || "active")),
    table([
      ["Id", it.phoneNumberId],
      ["Display", it.displayPhoneNumber],
      ["Quality event", standing.qualityEvent],
      ["Limit", standing.messagingLimit],
      ["Halts", (it.halts || []).map((halt) => halt.kind).join(", ")],
      ["Last active", time(it.activeTime)],
    ]));
}

function account(it) {
  return element("div", { class: "card" },
    element("h3", {}, "Account ", badge(it.state || "active")),
    table([
      ["WABA", it.wabaId],
      ["Limit", it.messagingLimit],
      ["Restrictions", (it.restrictions || []).filter((one) => one.inForce).map((one) => one.type).join(", ")],
      ["Charges", (it.totals || []).slice(0, 4).map((one) => `${one.month} ${one.category}: ${one.billable || 0} of ${one.charges}`).join(" · ")],
      ["Halt", it.halt && it.halt.kind],
    ]));
}

function templates(all, message) {
  if (all.length === 0) return element("p", { class: "quiet" }, "Meta has told of no template of the account.");
  const ours = (one) => (one.templateId === message.templateId ? 0 : 1);
  const rows = [...all].sort((a, b) => ours(a) - ours(b)).slice(0, 8).map((one) => element("li", { class: ours(one) === 0 ? "ours" : "" },
    element("span", {}, `${one.name || one.templateId} `, element("span", { class: "soft" }, one.language)),
    one.status ? badge(one.status) : "", one.quality ? badge(one.quality) : ""));
  return element("div", { class: "card" }, element("h3", {}, "Templates"), element("ul", { class: "plain" }, ...rows));
}

// --- what changes -----------------------------------------------------------------------------------------------

function live() {
  state.live.abort();
  const { signal } = (state.live = new AbortController());
  const list = at("live-list");
  list.replaceChildren(element("li", { class: "waiting" }, "Waiting for the next one…"));
  const tell = ({ transition }) => {
    if (!transition || state.paused) return;
    list.classList.remove("quiet");
    list.querySelector(".waiting")?.remove();
    list.prepend(moved(transition));
    while (list.children.length > LIVE_MAX) list.lastElementChild.remove();
  };
  const trouble = (error) => {
    const stays = error instanceof Refused && [400, 401, 403].includes(error.code);
    if (stays) list.replaceChildren(element("li", { class: "waiting" }, explained(error)));
    return !stays;
  };
  watch(path(["watch", "transitions"]), signal, tell, trouble);
}

function moved(it) {
  const origin = it.origin || {};
  const name = it.wamid ? elided(it.wamid, state.personal) : it.key || it.phoneNumberId || it.wabaId || "";
  const parts = [
    element("span", { class: "when" }, time(origin.logTime)),
    element("span", { class: "soft" }, it.entity), element("span", { class: "id" }, name),
    element("span", { class: "move" }, `${it.from || "new"} → `, badge(it.to), it.late ? element("span", { class: "kind late" }, "late") : ""),
  ];
  if (!it.wamid || it.entity !== "message") return element("li", {}, element("div", { class: "row" }, ...parts));
  const button = element("button", { type: "button", class: "row" }, ...parts);
  button.addEventListener("click", () => open(it.wamid));
  return element("li", {}, button);
}

// --- the node ---------------------------------------------------------------------------------------------------

async function partitions() {
  try {
    const status = await get("/statusz");
    const lag = Math.max(1, ...status.partitions.map((one) => one.lag_records || 0));
    const rows = status.partitions.map((one) => {
      const bar = element("span", { class: "bar" });
      if (one.lag_records) bar.style.width = `${Math.round((100 * one.lag_records) / lag)}%`;
      return element("tr", {},
        element("th", { scope: "row" }, String(one.partition)),
        element("td", {}, badge(one.state)),
        element("td", { class: "figure" }, one.position === undefined ? "" : one.position.toLocaleString("en")),
        element("td", { class: "lag" }, bar, element("span", {}, one.lag_records === undefined ? "–" : one.lag_records.toLocaleString("en"))),
        element("td", { class: "figure" }, one.state_age_seconds === undefined ? "–" : span(one.state_age_seconds * 1000)));
    });
    const head = ["Partition", "State", "Position", "Lag, records", "Age"].map((name) => element("th", { scope: "col" }, name));
    put("partitions-body",
      element("p", { class: "soft" }, `tickfold ${status.role} ${status.version} for ${span(status.uptime_seconds * 1000)}: ${status.readiness.ready ? "ready" : status.readiness.reasons.join("; ")}`),
      element("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Partitions" }, element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows))));
  } catch (error) {
    quiet("partitions-body", explained(error));
  }
}

async function letters() {
  try {
    const { deadLetters = [] } = await get(path(["dead-letters"], { pageSize: 20 }));
    if (deadLetters.length === 0) {
      quiet("letters-body", "None stands open.");
      return;
    }
    const rows = deadLetters.map((one) => element("li", {}, element("div", { class: "row" },
      element("span", { class: "when" }, time(one.logTime)),
      badge((one.state || "").replace("DEAD_LETTER_STATE_", "").toLowerCase().replace("_", " ")),
      element("span", {}, one.reason), element("span", { class: "id" }, `${(one.position || {}).partition || 0}-${(one.position || {}).offset || 0}`),
      element("span", { class: "soft" }, [one.field, one.path].filter(Boolean).join(" ")))));
    put("letters-body", element("ol", { class: "rows" }, ...rows));
  } catch (error) {
    quiet("letters-body", explained(error));
  }
}

function node() {
  if (document.hidden) return;
  partitions();
  letters();
}

// --- the page ---------------------------------------------------------------------------------------------------

function begin() {
  live();
  node();
}

at("search").addEventListener("submit", (event) => {
  event.preventDefault();
  search(at("wanted").value.trim());
});
at("caller").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(at("token").value.trim());
  at("token").value = "";
  begin();
  search(state.wanted);
  notice("The token is in use until this page is closed.");
});
at("personal").addEventListener("click", () => {
  state.personal = !state.personal;
  at("personal").setAttribute("aria-pressed", String(state.personal));
  at("personal").textContent = state.personal ? "Personal data shown" : "Personal data hidden";
  if (!state.personal) {
    // Nothing of what was shown stays, whatever is searched for now.
    at("live-list").replaceChildren();
    quiet("message-body", "");
    quiet("standing-body", "");
  }
  search(state.wanted);
});
at("pause").addEventListener("click", () => {
  state.paused = !state.paused;
  at("pause").setAttribute("aria-pressed", String(state.paused));
  at("pause").textContent = state.paused ? "Go on" : "Pause";
});
document.addEventListener("keydown", (event) => {
  const typing = event.target instanceof HTMLInputElement;
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    at("wanted").focus();
    at("wanted").select();
  }
});
let width = 0;
new ResizeObserver(([entry]) => {
  const now = Math.round(entry.contentRect.width);
  if (now === width) return;
  width = now;
  state.redraw?.();
}).observe(at("message-body"));
document.addEventListener("visibilitychange", node);
setInterval(node, STATUS_EVERY);
begin();
