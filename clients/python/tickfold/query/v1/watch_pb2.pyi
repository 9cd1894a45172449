import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from tickfold.query.v1 import query_pb2 as _query_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WatchMark(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WATCH_MARK_UNSPECIFIED: _ClassVar[WatchMark]
    WATCH_MARK_CAUGHT_UP: _ClassVar[WatchMark]
    WATCH_MARK_BOOKMARK: _ClassVar[WatchMark]
WATCH_MARK_UNSPECIFIED: WatchMark
WATCH_MARK_CAUGHT_UP: WatchMark
WATCH_MARK_BOOKMARK: WatchMark

class WatchMessagesRequest(_message.Message):
    __slots__ = ("wamids", "view", "resume_token")
    WAMIDS_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    wamids: _containers.RepeatedScalarFieldContainer[str]
    view: _query_pb2.MessageView
    resume_token: str
    def __init__(self, wamids: _Optional[_Iterable[str]] = ..., view: _Optional[_Union[_query_pb2.MessageView, str]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchMessagesResponse(_message.Message):
    __slots__ = ("message", "missing", "mark", "skipped_revisions", "resume_token")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_REVISIONS_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    message: _query_pb2.Message
    missing: str
    mark: WatchMark
    skipped_revisions: int
    resume_token: str
    def __init__(self, message: _Optional[_Union[_query_pb2.Message, _Mapping]] = ..., missing: _Optional[str] = ..., mark: _Optional[_Union[WatchMark, str]] = ..., skipped_revisions: _Optional[int] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchConversationRequest(_message.Message):
    __slots__ = ("phone_number_id", "party", "resume_token")
    PHONE_NUMBER_ID_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    phone_number_id: str
    party: str
    resume_token: str
    def __init__(self, phone_number_id: _Optional[str] = ..., party: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchConversationResponse(_message.Message):
    __slots__ = ("conversation", "missing", "mark", "skipped_revisions", "resume_token")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_REVISIONS_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    conversation: _query_pb2.Conversation
    missing: bool
    mark: WatchMark
    skipped_revisions: int
    resume_token: str
    def __init__(self, conversation: _Optional[_Union[_query_pb2.Conversation, _Mapping]] = ..., missing: _Optional[bool] = ..., mark: _Optional[_Union[WatchMark, str]] = ..., skipped_revisions: _Optional[int] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchNumberRequest(_message.Message):
    __slots__ = ("phone_number_id", "resume_token")
    PHONE_NUMBER_ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    phone_number_id: str
    resume_token: str
    def __init__(self, phone_number_id: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchNumberResponse(_message.Message):
    __slots__ = ("number", "missing", "mark", "skipped_revisions", "resume_token")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_REVISIONS_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    number: _query_pb2.Number
    missing: bool
    mark: WatchMark
    skipped_revisions: int
    resume_token: str
    def __init__(self, number: _Optional[_Union[_query_pb2.Number, _Mapping]] = ..., missing: _Optional[bool] = ..., mark: _Optional[_Union[WatchMark, str]] = ..., skipped_revisions: _Optional[int] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchAccountRequest(_message.Message):
    __slots__ = ("waba_id", "resume_token")
    WABA_ID_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    waba_id: str
    resume_token: str
    def __init__(self, waba_id: _Optional[str] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchAccountResponse(_message.Message):
    __slots__ = ("account", "missing", "mark", "skipped_revisions", "resume_token")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_REVISIONS_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    account: _query_pb2.Account
    missing: bool
    mark: WatchMark
    skipped_revisions: int
    resume_token: str
    def __init__(self, account: _Optional[_Union[_query_pb2.Account, _Mapping]] = ..., missing: _Optional[bool] = ..., mark: _Optional[_Union[WatchMark, str]] = ..., skipped_revisions: _Optional[int] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchTransitionsRequest(_message.Message):
    __slots__ = ("waba_id", "view", "resume_token", "from_beginning")
    WABA_ID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FROM_BEGINNING_FIELD_NUMBER: _ClassVar[int]
    waba_id: str
    view: _query_pb2.MessageView
    resume_token: str
    from_beginning: bool
    def __init__(self, waba_id: _Optional[str] = ..., view: _Optional[_Union[_query_pb2.MessageView, str]] = ..., resume_token: _Optional[str] = ..., from_beginning: _Optional[bool] = ...) -> None: ...

class WatchTransitionsResponse(_message.Message):
    __slots__ = ("transition", "mark", "resume_token")
    TRANSITION_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    transition: TransitionRecord
    mark: WatchMark
    resume_token: str
    def __init__(self, transition: _Optional[_Union[TransitionRecord, _Mapping]] = ..., mark: _Optional[_Union[WatchMark, str]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchActionsRequest(_message.Message):
    __slots__ = ("waba_id", "view", "resume_token", "from_beginning")
    WABA_ID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FROM_BEGINNING_FIELD_NUMBER: _ClassVar[int]
    waba_id: str
    view: _query_pb2.MessageView
    resume_token: str
    from_beginning: bool
    def __init__(self, waba_id: _Optional[str] = ..., view: _Optional[_Union[_query_pb2.MessageView, str]] = ..., resume_token: _Optional[str] = ..., from_beginning: _Optional[bool] = ...) -> None: ...

class WatchActionsResponse(_message.Message):
    __slots__ = ("action", "mark", "resume_token")
    ACTION_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    action: ActionRecord
    mark: WatchMark
    resume_token: str
    def __init__(self, action: _Optional[_Union[ActionRecord, _Mapping]] = ..., mark: _Optional[_Union[WatchMark, str]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class WatchAlertsRequest(_message.Message):
    __slots__ = ("waba_id", "view", "resume_token", "from_beginning")
    WABA_ID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FROM_BEGINNING_FIELD_NUMBER: _ClassVar[int]
    waba_id: str
    view: _query_pb2.MessageView
    resume_token: str
    from_beginning: bool
    def __init__(self, waba_id: _Optional[str] = ..., view: _Optional[_Union[_query_pb2.MessageView, str]] = ..., resume_token: _Optional[str] = ..., from_beginning: _Optional[bool] = ...) -> None: ...

class WatchAlertsResponse(_message.Message):
    __slots__ = ("alert", "mark", "resume_token")
    ALERT_FIELD_NUMBER: _ClassVar[int]
    MARK_FIELD_NUMBER: _ClassVar[int]
    RESUME_TOKEN_FIELD_NUMBER: _ClassVar[int]
    alert: AlertRecord
    mark: WatchMark
    resume_token: str
    def __init__(self, alert: _Optional[_Union[AlertRecord, _Mapping]] = ..., mark: _Optional[_Union[WatchMark, str]] = ..., resume_token: _Optional[str] = ...) -> None: ...

class RecordOrigin(_message.Message):
    __slots__ = ("event_id", "source", "event_time", "event_time_estimated", "received_time", "log_time")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_TIME_FIELD_NUMBER: _ClassVar[int]
    LOG_TIME_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    source: _query_pb2.SourcePosition
    event_time: _timestamp_pb2.Timestamp
    event_time_estimated: bool
    received_time: _timestamp_pb2.Timestamp
    log_time: _timestamp_pb2.Timestamp
    def __init__(self, event_id: _Optional[str] = ..., source: _Optional[_Union[_query_pb2.SourcePosition, _Mapping]] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., event_time_estimated: _Optional[bool] = ..., received_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., log_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class TransitionRecord(_message.Message):
    __slots__ = ("origin", "entity", "key", "waba_id", "phone_number_id", "wamid", "participant", "to", "state", "late", "error_code", "reason", "party", "via", "cause_wamid")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    ENTITY_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    WABA_ID_FIELD_NUMBER: _ClassVar[int]
    PHONE_NUMBER_ID_FIELD_NUMBER: _ClassVar[int]
    WAMID_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_FIELD_NUMBER: _ClassVar[int]
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_CODE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    VIA_FIELD_NUMBER: _ClassVar[int]
    CAUSE_WAMID_FIELD_NUMBER: _ClassVar[int]
    origin: RecordOrigin
    entity: str
    key: str
    waba_id: str
    phone_number_id: str
    wamid: str
    participant: str
    to: str
    state: str
    late: bool
    error_code: int
    reason: str
    party: str
    via: str
    cause_wamid: str
    def __init__(self, origin: _Optional[_Union[RecordOrigin, _Mapping]] = ..., entity: _Optional[str] = ..., key: _Optional[str] = ..., waba_id: _Optional[str] = ..., phone_number_id: _Optional[str] = ..., wamid: _Optional[str] = ..., participant: _Optional[str] = ..., to: _Optional[str] = ..., state: _Optional[str] = ..., late: _Optional[bool] = ..., error_code: _Optional[int] = ..., reason: _Optional[str] = ..., party: _Optional[str] = ..., via: _Optional[str] = ..., cause_wamid: _Optional[str] = ..., **kwargs) -> None: ...

class RecordSubject(_message.Message):
    __slots__ = ("waba_id", "phone_number_id", "wamid", "participant", "party", "template", "error_code", "callback_data", "template_name", "template_language", "display_phone_number", "rules_version")
    WABA_ID_FIELD_NUMBER: _ClassVar[int]
    PHONE_NUMBER_ID_FIELD_NUMBER: _ClassVar[int]
    WAMID_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_CODE_FIELD_NUMBER: _ClassVar[int]
    CALLBACK_DATA_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_NAME_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_PHONE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    RULES_VERSION_FIELD_NUMBER: _ClassVar[int]
    waba_id: str
    phone_number_id: str
    wamid: str
    participant: str
    party: str
    template: str
    error_code: int
    callback_data: str
    template_name: str
    template_language: str
    display_phone_number: str
    rules_version: int
    def __init__(self, waba_id: _Optional[str] = ..., phone_number_id: _Optional[str] = ..., wamid: _Optional[str] = ..., participant: _Optional[str] = ..., party: _Optional[str] = ..., template: _Optional[str] = ..., error_code: _Optional[int] = ..., callback_data: _Optional[str] = ..., template_name: _Optional[str] = ..., template_language: _Optional[str] = ..., display_phone_number: _Optional[str] = ..., rules_version: _Optional[int] = ...) -> None: ...

class ActionRecord(_message.Message):
    __slots__ = ("origin", "action_id", "kind", "subject", "cause", "not_before", "not_after", "scope", "category", "queue", "attempt", "attempts_max", "supersedes", "about")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    ACTION_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    NOT_BEFORE_FIELD_NUMBER: _ClassVar[int]
    NOT_AFTER_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_MAX_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDES_FIELD_NUMBER: _ClassVar[int]
    ABOUT_FIELD_NUMBER: _ClassVar[int]
    origin: RecordOrigin
    action_id: str
    kind: str
    subject: str
    cause: str
    not_before: _timestamp_pb2.Timestamp
    not_after: _timestamp_pb2.Timestamp
    scope: str
    category: str
    queue: str
    attempt: int
    attempts_max: int
    supersedes: str
    about: RecordSubject
    def __init__(self, origin: _Optional[_Union[RecordOrigin, _Mapping]] = ..., action_id: _Optional[str] = ..., kind: _Optional[str] = ..., subject: _Optional[str] = ..., cause: _Optional[str] = ..., not_before: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., not_after: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., scope: _Optional[str] = ..., category: _Optional[str] = ..., queue: _Optional[str] = ..., attempt: _Optional[int] = ..., attempts_max: _Optional[int] = ..., supersedes: _Optional[str] = ..., about: _Optional[_Union[RecordSubject, _Mapping]] = ...) -> None: ...

class AlertRecord(_message.Message):
    __slots__ = ("origin", "alert_id", "kind", "severity", "next_step", "subject", "cause", "reason", "action_id", "about")
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    ALERT_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SEVERITY_FIELD_NUMBER: _ClassVar[int]
    NEXT_STEP_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTION_ID_FIELD_NUMBER: _ClassVar[int]
    ABOUT_FIELD_NUMBER: _ClassVar[int]
    origin: RecordOrigin
    alert_id: str
    kind: str
    severity: str
    next_step: str
    subject: str
    cause: str
    reason: str
    action_id: str
    about: RecordSubject
    def __init__(self, origin: _Optional[_Union[RecordOrigin, _Mapping]] = ..., alert_id: _Optional[str] = ..., kind: _Optional[str] = ..., severity: _Optional[str] = ..., next_step: _Optional[str] = ..., subject: _Optional[str] = ..., cause: _Optional[str] = ..., reason: _Optional[str] = ..., action_id: _Optional[str] = ..., about: _Optional[_Union[RecordSubject, _Mapping]] = ...) -> None: ...
