"""Why a call was refused: the reason that tickfold gives beside the status code. The API's page has all of them."""

from google.rpc import error_details_pb2, status_pb2

DETAILS = "grpc-status-details-bin"


def reasons_of(error):
    """The reasons of a grpc.RpcError, e.g. ["MESSAGE_NOT_FOUND"]; none if it does not come from the service itself."""
    encoded = dict(error.trailing_metadata() or ()).get(DETAILS, b"")
    reasons = []
    for detail in status_pb2.Status.FromString(encoded).details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            reasons.append(info.reason)
    return reasons
