"""A one-time code that is delivered in time, or a fallback: otp.py ADDRESS SECONDS COMMAND...

COMMAND sends the code and prints the wamid that Meta's API answered with.
"""

import subprocess
import sys
import time

import grpc
from tickfold.query.v1 import watch_pb2, watch_pb2_grpc


def delivered_in_time(watch, send, seconds):
    """Sends a message, and says whether it reached a device within so many seconds. `send` returns its wamid."""
    deadline = time.monotonic() + seconds
    request = watch_pb2.WatchMessagesRequest(wamids=[send()])
    while (left := deadline - time.monotonic()) > 0:
        try:
            for response in watch.WatchMessages(request, timeout=left, wait_for_ready=True):
                request.resume_token = response.resume_token
                if response.message.state_text in ("delivered", "read", "failed"):
                    return response.message.state_text != "failed"
        except grpc.RpcError as error:
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                raise
            time.sleep(0.1)  # A node that stops or starts: the same watch goes on at the next one.
    return False


if __name__ == "__main__":
    address, seconds, *command = sys.argv[1:]
    stub = watch_pb2_grpc.WatchServiceStub(grpc.insecure_channel(address))
    in_time = delivered_in_time(stub, lambda: subprocess.check_output(command, text=True).strip(), float(seconds))
    print("delivered" if in_time else "fallback")
