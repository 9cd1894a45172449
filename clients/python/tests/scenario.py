"""What a service asks of tickfold, by grpcio: scenario.py ADDRESS WABA NUMBER PARTY UNTOLD WAMID...

Prints a line of JSON for each question. The same scenario in TypeScript prints the same lines. Nobody knows the message
UNTOLD yet; who reads the line `watch` lets Meta say that it was sent.
"""

import json
import sys

import grpc
from tickfold.query.v1 import query_pb2, query_pb2_grpc, watch_pb2, watch_pb2_grpc
from tickfold.reason import reasons_of

PAGE = 2


def say(what, *answer):
    print(json.dumps([what, *answer], separators=(",", ":")), flush=True)


def refused(what, call):
    """The code of a call that has to fail, and the reason that the service gives."""
    try:
        call()
    except grpc.RpcError as error:
        say(what, error.code().value[0], reasons_of(error))
        return
    say(what, 0, [])


def word(response):
    """What a watch of messages says, in a word."""
    item = response.WhichOneof("item")
    if item == "mark":
        return watch_pb2.WatchMark.Name(response.mark)
    return response.message.state_text if item == "message" else item


def until_mark(responses):
    told = []
    for response in responses:
        told.append(response)
        if response.WhichOneof("item") == "mark":
            return told
    return told


def main(address, waba_id, number, party, untold, *wamids):
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
    responses = watch.WatchTransitions(request)
    told = [response.transition for response in until_mark(responses)]
    responses.cancel()
    say("transitions", [[one.wamid, one.to, one.state] for one in told if one.entity == "message"])

    request = watch_pb2.WatchMessagesRequest(wamids=[wamids[0], untold])
    responses = watch.WatchMessages(request)
    told = until_mark(responses)
    say("watch", sorted(map(word, told[:-1])), word(told[-1]))
    say("delta", word(next(responses)))
    responses.cancel()
    # As one that had taken in the mark and nothing behind it.
    request.resume_token = told[-1].resume_token
    responses = watch.WatchMessages(request)
    told = until_mark(responses)
    responses.cancel()
    say("resumed", [word(one) for one in told if one.message.wamid == untold], word(told[-1]))


main(*sys.argv[1:])
