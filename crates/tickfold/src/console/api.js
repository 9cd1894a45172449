// Asks the node: JSON for replies, events for streams. The token is kept here, in memory, and goes with the page.

let token = "";

export function useToken(text) {
  token = text;
}

/** A call that failed: the HTTP code, and what google.rpc.Status says. */
export class Refused extends Error {
  constructor(code, status) {
    super(status.message || `the node answered ${code}`);
    this.code = code;
    const details = status.details || [];
    this.reason = (details.find((one) => one.reason) || {}).reason || "";
    this.scope = ((details.find((one) => one.metadata) || {}).metadata || {}).scope || "";
    const links = (details.find((one) => one.links) || {}).links || [];
    this.advice = links.length > 0 ? links[0].description : "";
  }
}

/** A path with its parts escaped, and parameters; those that are empty are left out. */
export function path(parts, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== "") query.append(name, value);
  }
  const text = query.toString();
  return `/v1/${parts.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

async function ask(where, more, signal) {
  const headers = { ...more };
  if (token) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(where, { headers, signal, cache: "no-store", credentials: "omit" });
  if (answer.ok) return answer;
  const text = await answer.text();
  let status = { message: text.trim() };
  try {
    status = JSON.parse(text);
  } catch {
    // Not every page of the listener answers in JSON.
  }
  throw new Refused(answer.status, status);
}

export async function get(where, signal) {
  return (await ask(where, {}, signal)).json();
}

/** The events of a stream, until it ends. Each is its id and its data. */
export async function* events(where, signal, lastId = "") {
  const answer = await ask(where, lastId ? { "last-event-id": lastId } : {}, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    for (let end = rest.indexOf("\n\n"); end >= 0; end = rest.indexOf("\n\n")) {
      const event = { id: "", event: "", data: "" };
      for (const line of rest.slice(0, end).split("\n")) {
        const colon = line.indexOf(": ");
        event[line.slice(0, colon)] = line.slice(colon + 2);
      }
      rest = rest.slice(end + 2);
      const data = JSON.parse(event.data);
      if (event.event === "status") throw new Refused(0, data);
      yield { id: event.id, data };
    }
  }
}

/** A watch for as long as the page wants it: it goes on where it was when its stream ends. */
export async function watch(where, signal, tell, trouble) {
  let id = "";
  while (!signal.aborted) {
    try {
      for await (const event of events(where, signal, id)) {
        id = event.id;
        tell(event.data);
      }
    } catch (error) {
      if (signal.aborted) return;
      // What a person has to change first is not tried again.
      if (!trouble(error)) return;
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}
