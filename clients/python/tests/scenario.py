"""What a service asks of tickfold, by grpcio: scenario.py ADDRESS WABA NUMBER PARTY WAMID...

Prints a line of JSON for each question. The same scenario in TypeScript prints the same lines.
"""

import json
import sys

import grpc
from google.rpc import error_details_pb2, status_pb2
from tickfold.query.v1 import query_pb2, query_pb2_grpc, watch_pb2, watch_pb2_grpc

PAGE = 2


def say(what, *answer):
    print(json.dumps([what, *answer], separators=(",", ":")))


def refused(what, call):
    """The code of a call that has to fail, and the reason that the service gives."""
    try:
        call()
    except grpc.RpcError as error:
        reasons = []
        for key, value in error.trailing_metadata():
            if key == "grpc-status-details-bin":
                for detail in status_pb2.Status.FromString(value).details:
                    info = error_details_pb2.ErrorInfo()
                    if detail.Unpack(info):
                        reasons.append(info.reason)
        say(what, error.code().value[0], reasons)
        return
    say(what, 0, [])


def main(address, waba_id, number, party, *wamids):
    channel = grpc.insecure_channel(address)
    query = query_pb2_grpc.QueryServiceStub(channel)
    for wamid in wamids:
        request = query_pb2.GetMessageRequest(wamid=wamid)
        message = query.GetMessage(request, wait_for_ready=True, timeout=30).message
        say("message", message.state_text, message.revision, message.error_code)
    request = query_pb2.LookupMessagesRequest(wamids=[*wamids, "wamid.NOBODY"])
    found = query.LookupMessages(request)
    say("lookup", sorted(message.wamid for message in found.found), list(found.missing))

    listed, token = [], ""
    while True:
        request = query_pb2.ListMessagesRequest(
            phone_number_id=number, party=party, page_size=PAGE, page_token=token
        )
        page = query.ListMessages(request)
        listed.append([message.wamid for message in page.messages])
        token = page.next_page_token
        if not token:
            break
    say("list", listed)
    conversation = query.GetConversation(
        query_pb2.GetConversationRequest(phone_number_id=number, party=party)
    ).conversation
    say("conversation", conversation.phone_number_id, conversation.revision)

    refused("unknown", lambda: query.GetMessage(query_pb2.GetMessageRequest(wamid="wamid.NOBODY")))
    refused("empty", lambda: query.GetMessage(query_pb2.GetMessageRequest()))

    watch = watch_pb2_grpc.WatchServiceStub(channel)
    request = watch_pb2.WatchTransitionsRequest(waba_id=waba_id, from_beginning=True)
    told = []
    responses = watch.WatchTransitions(request)
    for response in responses:
        if response.WhichOneof("item") == "mark":
            break
        transition = response.transition
        if transition.entity == "message":
            told.append([transition.wamid, transition.to, transition.state])
    responses.cancel()
    say("transitions", told)


main(*sys.argv[1:])
