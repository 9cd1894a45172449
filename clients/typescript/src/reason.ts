// Why a call was refused: the reason that tickfold gives beside the status code. The API's page has all of them.

import { BinaryReader } from "@bufbuild/protobuf/wire";
import type { ServiceError } from "@grpc/grpc-js";

const ERROR_INFO = "type.googleapis.com/google.rpc.ErrorInfo";

/** The reasons of an error, e.g. `MESSAGE_NOT_FOUND`; none if it does not come from the service itself. */
export function reasonsOf(error: ServiceError): string[] {
  const encoded = error.metadata?.get("grpc-status-details-bin")[0];
  if (!(encoded instanceof Uint8Array)) return [];
  return reasonsIn(fields(encoded, 3).map((any) => ({ type: text(fields(any, 1)[0]), value: fields(any, 2)[0] })));
}

/** The same of details that a client has taken apart already, as Connect's does; a type may be an URL or a name. */
export function reasonsIn(details: { type: string; value?: Uint8Array }[]): string[] {
  const infos = details.filter(({ type }) => ERROR_INFO.endsWith(type) && type !== "");
  return infos.map(({ value }) => text(value && fields(value, 1)[0]));
}

/** All values of a field that holds bytes. */
function fields(message: Uint8Array, wanted: number): Uint8Array[] {
  const reader = new BinaryReader(message);
  const found = [];
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === wanted && wireType === 2) found.push(reader.bytes());
    else reader.skip(wireType);
  }
  return found;
}

function text(bytes: Uint8Array | undefined): string {
  return new TextDecoder().decode(bytes);
}
