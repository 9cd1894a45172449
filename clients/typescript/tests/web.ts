// What a page asks of tickfold, by gRPC-web: web.js URL DESCRIPTORS WABA WAMID...
//
// By Connect's client and the descriptors alone, without stubs. Prints a line of JSON for each question, those of
// the scenario among them.

import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { type Client, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { reasonsIn } from "../src/reason.js";

interface Message {
  wamid: string;
  stateText: string;
  revision: bigint;
  errorCode?: bigint;
}

interface Item {
  case: string;
  value: { entity: string; wamid: string; to: string; state: string };
}

/** What of the services is asked here. */
interface Query {
  getMessage(request: object): Promise<{ message?: Message }>;
  lookupMessages(request: object): Promise<{ found: Message[]; missing: string[] }>;
}
interface Watch {
  watchTransitions(request: object, options: { signal: AbortSignal }): AsyncIterable<{ item: Item }>;
}

const [baseUrl = "", descriptors = "", wabaId = "", ...wamids] = process.argv.slice(2);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptors)));
const transport = createGrpcWebTransport({ baseUrl });

function client(name: string): Client<never> {
  const service = registry.getService(`tickfold.query.v1.${name}`);
  if (!service) throw new Error(`no ${name} in ${descriptors}`);
  return createClient(service, transport) as unknown as Client<never>;
}

function say(...line: unknown[]): void {
  console.log(JSON.stringify(line, (_, value: unknown) => (typeof value === "bigint" ? Number(value) : value)));
}

const query = client("QueryService") as unknown as Query;
const watch = client("WatchService") as unknown as Watch;
for (const wamid of wamids) {
  const { message } = await query.getMessage({ wamid });
  say("message", message?.stateText, message?.revision, message?.errorCode ?? 0);
}
const { found, missing } = await query.lookupMessages({ wamids: [...wamids, "wamid.NOBODY"] });
say("lookup", found.map((message) => message.wamid).sort(), missing);
for (const [what, wamid] of [["unknown", "wamid.NOBODY"], ["empty", ""]]) {
  const error = await query.getMessage({ wamid }).then(() => undefined, (error: unknown) => ConnectError.from(error));
  say(what, error?.code ?? 0, reasonsIn((error?.details ?? []) as { type: string; value?: Uint8Array }[]));
}
const told: string[][] = [];
const stop = new AbortController();
for await (const { item } of watch.watchTransitions({ wabaId, fromBeginning: true }, { signal: stop.signal })) {
  if (item.case !== "transition") break;
  if (item.value.entity === "message") told.push([item.value.wamid, item.value.to, item.value.state]);
}
stop.abort();
say("transitions", told);
