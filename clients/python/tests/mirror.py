"""The mirror beside gRPC, by another implementation of protobuf's JSON: mirror.py ADDRESS ADMIN WABA NUMBER PARTY WAMID...

Asks each question twice, by grpcio and over HTTP, and compares what Google's own library makes of the reply with what
came. Prints how many were equal.
"""

import json
import sys
import urllib.error
import urllib.request
from urllib.parse import quote, urlencode

import grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2
from tickfold.query.v1 import query_pb2 as pb
from tickfold.query.v1 import query_pb2_grpc, watch_pb2, watch_pb2_grpc

assert error_details_pb2, "registers the details of errors"


def over_grpc(call, request):
    """A reply or a failure, as the canonical JSON has it."""
    try:
        return json_format.MessageToDict(call(request))
    except grpc.RpcError as error:
        details = dict(error.trailing_metadata())["grpc-status-details-bin"]
        return json_format.MessageToDict(status_pb2.Status.FromString(details))


def over_http(admin, path, query):
    url = f"http://{admin}/v1/{path}?{urlencode(query)}"
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        return json.load(error)


def main(address, admin, waba, number, party, *wamids):
    channel = grpc.insecure_channel(address)
    service = query_pb2_grpc.QueryServiceStub(channel)
    questions = []
    for view in pb.MessageView.keys():
        for wamid in [*wamids, "wamid.NOBODY"]:
            questions.append((service.GetMessage, pb.GetMessageRequest(wamid=wamid, view=view), f"messages/{quote(wamid, '')}", {"view": view}))
        for size in (-1, 1, 2):
            listed = pb.ListMessagesRequest(phone_number_id=number, party=party, page_size=size, view=view)
            questions.append((service.ListMessages, listed, f"conversations/{number}/{party}/messages", {"pageSize": size, "view": view}))
        asked = pb.GetConversationRequest(phone_number_id=number, party=party, message_count=2, message_view=view)
        questions.append((service.GetConversation, asked, f"conversations/{number}/{party}", {"messageCount": 2, "messageView": view}))
    questions += [
        (service.GetNumber, pb.GetNumberRequest(phone_number_id=number), f"numbers/{number}", {}),
        (service.GetAccount, pb.GetAccountRequest(waba_id=waba), f"accounts/{waba}", {}),
        (service.GetAccount, pb.GetAccountRequest(waba_id="0"), "accounts/0", {}),
        (service.ListAccounts, pb.ListAccountsRequest(), "accounts", {}),
        (service.ListNumbers, pb.ListNumbersRequest(waba_id=waba), "numbers", {"waba_id": waba}),
        (service.ListTemplates, pb.ListTemplatesRequest(page_token="x"), "templates", {"pageToken": "x"}),
        (service.GetUser, pb.GetUserRequest(waba_id=waba, party=party), f"users/{waba}/{party}", {}),
    ]
    for call, request, path, query in questions:
        wanted, told = over_grpc(call, request), over_http(admin, path, query)
        # Which moment it was: time goes on between the two.
        wanted.pop("asOf", None), told.pop("asOf", None)
        if wanted != told:
            sys.exit(f"{path} {query}:\ngRPC {json.dumps(wanted)}\nHTTP {json.dumps(told)}")

    watch = watch_pb2_grpc.WatchServiceStub(channel)
    url = f"http://{admin}/v1/watch/transitions?fromBeginning=true&wabaId={waba}"
    events = 0
    with urllib.request.urlopen(url, timeout=30) as stream:
        for response in watch.WatchTransitions(watch_pb2.WatchTransitionsRequest(waba_id=waba, from_beginning=True)):
            lines = [stream.readline().decode() for _ in range(3)]
            told = json.loads(lines[1].removeprefix("data: "))
            wanted = json_format.MessageToDict(response)
            if wanted != told or lines[0] != f"id: {response.resume_token}\n":
                sys.exit(f"event {events}:\ngRPC {json.dumps(wanted)}\nHTTP {lines}")
            events += 1
            if response.WhichOneof("item") == "mark":
                break
    print(json.dumps([len(questions), events]))


main(*sys.argv[1:])
