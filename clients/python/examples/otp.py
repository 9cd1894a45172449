"""A one-time code that is delivered in time, or a fallback: otp.py ADDRESS WAMID SECONDS"""

import sys

import grpc
from tickfold.query.v1 import watch_pb2, watch_pb2_grpc


def delivered_in_time(address, wamid, seconds):
    """Whether the message, sent a moment ago, reaches a device within so many seconds."""
    watch = watch_pb2_grpc.WatchServiceStub(grpc.insecure_channel(address))
    request = watch_pb2.WatchMessagesRequest(wamids=[wamid])
    try:
        for response in watch.WatchMessages(request, timeout=seconds, wait_for_ready=True):
            if response.message.state_text in ("delivered", "read", "failed"):
                return response.message.state_text != "failed"
    except grpc.RpcError as error:
        if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED:
            raise
    return False


if __name__ == "__main__":
    print("delivered" if delivered_in_time(sys.argv[1], sys.argv[2], float(sys.argv[3])) else "fallback")
