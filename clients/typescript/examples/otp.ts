// A one-time code that is delivered in time, or a fallback: otp.js ADDRESS WAMID SECONDS

import { pathToFileURL } from "node:url";
import { credentials, Metadata, status, type ServiceError } from "@grpc/grpc-js";
import { WatchMessagesRequest, WatchServiceClient, type WatchMessagesResponse } from "../src/gen/tickfold/query/v1/watch.js";

/** Whether the message, sent a moment ago, reaches a device within so many seconds. */
export async function deliveredInTime(address: string, wamid: string, seconds: number): Promise<boolean> {
  const watch = new WatchServiceClient(address, credentials.createInsecure());
  const options = { deadline: Date.now() + seconds * 1000 };
  const responses = watch.watchMessages(WatchMessagesRequest.fromPartial({ wamids: [wamid] }), new Metadata({ waitForReady: true }), options);
  try {
    for await (const response of responses as AsyncIterable<WatchMessagesResponse>) {
      const state = response.message?.stateText ?? "";
      if (["delivered", "read", "failed"].includes(state)) return state !== "failed";
    }
  } catch (error) {
    if ((error as ServiceError).code !== status.DEADLINE_EXCEEDED) throw error;
  } finally {
    responses.cancel();
    watch.close();
  }
  return false;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [address = "", wamid = "", seconds = ""] = process.argv.slice(2);
  console.log((await deliveredInTime(address, wamid, Number(seconds))) ? "delivered" : "fallback");
}
