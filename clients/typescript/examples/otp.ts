// A one-time code that is delivered in time, or a fallback: otp.js ADDRESS SECONDS COMMAND...
//
// COMMAND sends the code and prints the wamid that Meta's API answered with.

import { execFileSync } from "node:child_process";
import { setTimeout as pause } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { credentials, Metadata, status, type ServiceError } from "@grpc/grpc-js";
import { WatchMessagesRequest, WatchServiceClient, type WatchMessagesResponse } from "../src/gen/tickfold/query/v1/watch.js";

const ENDS = ["delivered", "read", "failed"];
const PASSING = [status.UNAVAILABLE, status.DEADLINE_EXCEEDED];

/** Sends a message, and says whether it reached a device within so many seconds. `send` returns its wamid. */
export async function deliveredInTime(watch: WatchServiceClient, send: () => string | Promise<string>, seconds: number): Promise<boolean> {
  const deadline = Date.now() + seconds * 1000;
  const request = WatchMessagesRequest.fromPartial({ wamids: [await send()] });
  for (; Date.now() < deadline; await pause(100)) {
    const responses = watch.watchMessages(request, new Metadata({ waitForReady: true }), { deadline });
    try {
      for await (const { message, resumeToken } of responses as AsyncIterable<WatchMessagesResponse>) {
        request.resumeToken = resumeToken; // Behind a node that stops or starts, the same watch goes on at the next one.
        if (ENDS.includes(message?.stateText ?? "")) return (responses.cancel(), message?.stateText !== "failed");
      }
    } catch (error) {
      if (!PASSING.includes((error as ServiceError).code)) throw error;
    }
  }
  return false;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [address = "", seconds = "", command = "", ...args] = process.argv.slice(2);
  const watch = new WatchServiceClient(address, credentials.createInsecure());
  const send = () => execFileSync(command, args, { encoding: "utf8" }).trim();
  console.log((await deliveredInTime(watch, send, Number(seconds))) ? "delivered" : "fallback");
  watch.close();
}
