// What a service asks of tickfold, by @grpc/grpc-js: scenario.js ADDRESS WABA NUMBER PARTY UNTOLD WAMID...
//
// Prints a line of JSON for each question. The same scenario in Python prints the same lines. Nobody knows the message
// UNTOLD yet; who reads the line `watch` lets Meta say that it was sent.

import { credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import * as query from "../src/gen/tickfold/query/v1/query.js";
import * as watch from "../src/gen/tickfold/query/v1/watch.js";
import { reasonsOf } from "../src/reason.js";

const PAGE = 2;

const [address = "", wabaId = "", phoneNumberId = "", party = "", untold = "", ...wamids] = process.argv.slice(2);
const asked = new query.QueryServiceClient(address, credentials.createInsecure());
const watched = new watch.WatchServiceClient(address, credentials.createInsecure());

type Answered<T> = (error: ServiceError | null, answer: T) => void;

/** A call as a promise. */
function answer<T>(call: (answered: Answered<T>) => unknown): Promise<T> {
  return new Promise((resolve, reject) => call((error, answer) => (error ? reject(error) : resolve(answer))));
}

function say(...line: unknown[]): void {
  console.log(JSON.stringify(line, (_, value: unknown) => (typeof value === "bigint" ? Number(value) : value)));
}

/** The code of a call that has to fail, and the reason that the service gives. */
async function refused(what: string, call: Promise<unknown>): Promise<void> {
  const error = await call.then(() => undefined, (error: ServiceError) => error);
  say(what, error?.code ?? 0, error ? reasonsOf(error) : []);
}

const patient = new Metadata({ waitForReady: true });
for (const wamid of wamids) {
  const request = query.GetMessageRequest.fromPartial({ wamid });
  const { message } = await answer<query.GetMessageResponse>((done) => asked.getMessage(request, patient, done));
  say("message", message?.stateText, message?.revision, message?.errorCode ?? 0);
}
const lookup = query.LookupMessagesRequest.fromPartial({ wamids: [...wamids, "wamid.NOBODY"] });
const found = await answer<query.LookupMessagesResponse>((done) => asked.lookupMessages(lookup, done));
say("lookup", found.found.map((message) => message.wamid).sort(), found.missing);

const listed: string[][] = [];
for (let pageToken: string | undefined = ""; pageToken !== undefined; ) {
  const request = query.ListMessagesRequest.fromPartial({ phoneNumberId, party, pageSize: PAGE, pageToken });
  const page: query.ListMessagesResponse = await answer((done) => asked.listMessages(request, done));
  listed.push(page.messages.map((message) => message.wamid));
  pageToken = page.nextPageToken || undefined;
}
say("list", listed);
const ofParty = query.GetConversationRequest.fromPartial({ phoneNumberId, party });
const { conversation } = await answer<query.GetConversationResponse>((done) => asked.getConversation(ofParty, done));
say("conversation", conversation?.phoneNumberId, conversation?.revision);

const get = (request: query.GetMessageRequest) => answer((done) => asked.getMessage(request, done));
await refused("unknown", get(query.GetMessageRequest.fromPartial({ wamid: "wamid.NOBODY" })));
await refused("empty", get(query.GetMessageRequest.fromPartial({})));

const told: string[][] = [];
const all = watch.WatchTransitionsRequest.fromPartial({ wabaId, fromBeginning: true });
const responses = watched.watchTransitions(all);
for await (const response of responses as AsyncIterable<watch.WatchTransitionsResponse>) {
  const { transition } = response;
  if (!transition) break;
  if (transition.entity === "message") told.push([transition.wamid, transition.to, transition.state]);
}
responses.cancel();
say("transitions", told);

/** What a watch of messages says, in a word. */
function word({ message, missing, mark }: watch.WatchMessagesResponse): string {
  if (mark !== undefined) return watch.WatchMark[mark] ?? "";
  return missing !== undefined ? "missing" : message?.stateText ?? "";
}

const both = watch.WatchMessagesRequest.fromPartial({ wamids: [wamids[0] ?? "", untold] });

/** A watch that goes on behind its mark, and what it told up to there. */
async function untilMark() {
  const open = watched.watchMessages(both);
  const responses = (open as AsyncIterable<watch.WatchMessagesResponse>)[Symbol.asyncIterator]();
  const next = async () => (await responses.next()).value as watch.WatchMessagesResponse;
  const told = [await next()];
  while (told.at(-1)?.mark === undefined) told.push(await next());
  return { open, next, before: told.slice(0, -1), mark: told.at(-1)! };
}

const first = await untilMark();
say("watch", first.before.map(word).sort(), word(first.mark));
say("delta", word(await first.next()));
first.open.cancel();
// As one that had taken in the mark and nothing behind it.
both.resumeToken = first.mark.resumeToken;
const again = await untilMark();
again.open.cancel();
say("resumed", again.before.filter(({ message }) => message?.wamid === untold).map(word), word(again.mark));
asked.close();
watched.close();
