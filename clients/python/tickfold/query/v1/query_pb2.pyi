import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_OWNER: _ClassVar[Role]
    ROLE_FOLLOWER: _ClassVar[Role]
    ROLE_FROZEN: _ClassVar[Role]

class MessageView(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MESSAGE_VIEW_UNSPECIFIED: _ClassVar[MessageView]
    MESSAGE_VIEW_BASIC: _ClassVar[MessageView]
    MESSAGE_VIEW_FULL: _ClassVar[MessageView]
    MESSAGE_VIEW_HISTORY: _ClassVar[MessageView]

class MessageState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MESSAGE_STATE_UNSPECIFIED: _ClassVar[MessageState]
    MESSAGE_STATE_PENDING: _ClassVar[MessageState]
    MESSAGE_STATE_SENT: _ClassVar[MessageState]
    MESSAGE_STATE_DELIVERED: _ClassVar[MessageState]
    MESSAGE_STATE_READ: _ClassVar[MessageState]
    MESSAGE_STATE_PLAYED: _ClassVar[MessageState]
    MESSAGE_STATE_FAILED: _ClassVar[MessageState]
    MESSAGE_STATE_RECEIVED: _ClassVar[MessageState]
    MESSAGE_STATE_UNKNOWN: _ClassVar[MessageState]

class MessageDirection(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MESSAGE_DIRECTION_UNSPECIFIED: _ClassVar[MessageDirection]
    MESSAGE_DIRECTION_INBOUND: _ClassVar[MessageDirection]
    MESSAGE_DIRECTION_OUTBOUND: _ClassVar[MessageDirection]

class WindowState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WINDOW_STATE_UNSPECIFIED: _ClassVar[WindowState]
    WINDOW_STATE_OPEN: _ClassVar[WindowState]
    WINDOW_STATE_CLOSED: _ClassVar[WindowState]

class IdentifierRelation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IDENTIFIER_RELATION_UNSPECIFIED: _ClassVar[IdentifierRelation]
    IDENTIFIER_RELATION_SAME: _ClassVar[IdentifierRelation]
    IDENTIFIER_RELATION_PARENT: _ClassVar[IdentifierRelation]
    IDENTIFIER_RELATION_BECAME: _ClassVar[IdentifierRelation]

class RecordOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECORD_OUTCOME_UNSPECIFIED: _ClassVar[RecordOutcome]
    RECORD_OUTCOME_NEW_FACT: _ClassVar[RecordOutcome]
    RECORD_OUTCOME_AMENDED: _ClassVar[RecordOutcome]
    RECORD_OUTCOME_REPEATED: _ClassVar[RecordOutcome]
    RECORD_OUTCOME_MENTIONED: _ClassVar[RecordOutcome]
    RECORD_OUTCOME_BROKEN: _ClassVar[RecordOutcome]
    RECORD_OUTCOME_ELSEWHERE: _ClassVar[RecordOutcome]
    RECORD_OUTCOME_DECIDED: _ClassVar[RecordOutcome]
ROLE_UNSPECIFIED: Role
ROLE_OWNER: Role
ROLE_FOLLOWER: Role
ROLE_FROZEN: Role
MESSAGE_VIEW_UNSPECIFIED: MessageView
MESSAGE_VIEW_BASIC: MessageView
MESSAGE_VIEW_FULL: MessageView
MESSAGE_VIEW_HISTORY: MessageView
MESSAGE_STATE_UNSPECIFIED: MessageState
MESSAGE_STATE_PENDING: MessageState
MESSAGE_STATE_SENT: MessageState
MESSAGE_STATE_DELIVERED: MessageState
MESSAGE_STATE_READ: MessageState
MESSAGE_STATE_PLAYED: MessageState
MESSAGE_STATE_FAILED: MessageState
MESSAGE_STATE_RECEIVED: MessageState
MESSAGE_STATE_UNKNOWN: MessageState
MESSAGE_DIRECTION_UNSPECIFIED: MessageDirection
MESSAGE_DIRECTION_INBOUND: MessageDirection
MESSAGE_DIRECTION_OUTBOUND: MessageDirection
WINDOW_STATE_UNSPECIFIED: WindowState
WINDOW_STATE_OPEN: WindowState
WINDOW_STATE_CLOSED: WindowState
IDENTIFIER_RELATION_UNSPECIFIED: IdentifierRelation
IDENTIFIER_RELATION_SAME: IdentifierRelation
IDENTIFIER_RELATION_PARENT: IdentifierRelation
IDENTIFIER_RELATION_BECAME: IdentifierRelation
RECORD_OUTCOME_UNSPECIFIED: RecordOutcome
RECORD_OUTCOME_NEW_FACT: RecordOutcome
RECORD_OUTCOME_AMENDED: RecordOutcome
RECORD_OUTCOME_REPEATED: RecordOutcome
RECORD_OUTCOME_MENTIONED: RecordOutcome
RECORD_OUTCOME_BROKEN: RecordOutcome
RECORD_OUTCOME_ELSEWHERE: RecordOutcome
RECORD_OUTCOME_DECIDED: RecordOutcome

class Position(_message.Message):
    __slots__ = ("partition", "offset")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    partition: int
    offset: int
    def __init__(self, partition: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class Moment(_message.Message):
    __slots__ = ("offset", "position", "time")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    offset: int
    position: Position
    time: _timestamp_pb2.Timestamp
    def __init__(self, offset: _Optional[int] = ..., position: _Optional[_Union[Position, _Mapping]] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class SourcePosition(_message.Message):
    __slots__ = ("partition", "offset")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    partition: int
    offset: int
    def __init__(self, partition: _Optional[int] = ..., offset: _Optional[int] = ...) -> None: ...

class AsOf(_message.Message):
    __slots__ = ("positions", "event_time", "age", "role")
    POSITIONS_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    positions: _containers.RepeatedCompositeFieldContainer[Position]
    event_time: _timestamp_pb2.Timestamp
    age: _duration_pb2.Duration
    role: Role
    def __init__(self, positions: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., age: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., role: _Optional[_Union[Role, str]] = ...) -> None: ...

class StatusFact(_message.Message):
    __slots__ = ("state", "state_text", "event_time")
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_TEXT_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    state: MessageState
    state_text: str
    event_time: _timestamp_pb2.Timestamp
    def __init__(self, state: _Optional[_Union[MessageState, str]] = ..., state_text: _Optional[str] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class MessageError(_message.Message):
    __slots__ = ("code", "title", "message", "details", "first_time")
    CODE_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    FIRST_TIME_FIELD_NUMBER: _ClassVar[int]
    code: int
    title: str
    message: str
    details: str
    first_time: _timestamp_pb2.Timestamp
    def __init__(self, code: _Optional[int] = ..., title: _Optional[str] = ..., message: _Optional[str] = ..., details: _Optional[str] = ..., first_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Pricing(_message.Message):
    __slots__ = ("billable", "model", "type", "category")
    BILLABLE_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    billable: bool
    model: str
    type: str
    category: str
    def __init__(self, billable: _Optional[bool] = ..., model: _Optional[str] = ..., type: _Optional[str] = ..., category: _Optional[str] = ...) -> None: ...

class Participant(_message.Message):
    __slots__ = ("participant", "state", "facts", "errors", "pricing", "charge")
    PARTICIPANT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    PRICING_FIELD_NUMBER: _ClassVar[int]
    CHARGE_FIELD_NUMBER: _ClassVar[int]
    participant: str
    state: MessageState
    facts: _containers.RepeatedCompositeFieldContainer[StatusFact]
    errors: _containers.RepeatedCompositeFieldContainer[MessageError]
    pricing: Pricing
    charge: Charge
    def __init__(self, participant: _Optional[str] = ..., state: _Optional[_Union[MessageState, str]] = ..., facts: _Optional[_Iterable[_Union[StatusFact, _Mapping]]] = ..., errors: _Optional[_Iterable[_Union[MessageError, _Mapping]]] = ..., pricing: _Optional[_Union[Pricing, _Mapping]] = ..., charge: _Optional[_Union[Charge, _Mapping]] = ...) -> None: ...

class Charge(_message.Message):
    __slots__ = ("charge_id", "sequence", "month", "category", "type", "billable", "country", "conflicting", "delivery_time", "participant")
    CHARGE_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    MONTH_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    BILLABLE_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    CONFLICTING_FIELD_NUMBER: _ClassVar[int]
    DELIVERY_TIME_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_FIELD_NUMBER: _ClassVar[int]
    charge_id: str
    sequence: int
    month: str
    category: str
    type: str
    billable: bool
    country: str
    conflicting: bool
    delivery_time: _timestamp_pb2.Timestamp
    participant: str
    def __init__(self, charge_id: _Optional[str] = ..., sequence: _Optional[int] = ..., month: _Optional[str] = ..., category: _Optional[str] = ..., type: _Optional[str] = ..., billable: _Optional[bool] = ..., country: _Optional[str] = ..., conflicting: _Optional[bool] = ..., delivery_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., participant: _Optional[str] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("kind", "id", "decided_time", "expired", "superseded", "participant", "source")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    DECIDED_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRED_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDED_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    kind: str
    id: str
    decided_time: _timestamp_pb2.Timestamp
    expired: bool
    superseded: bool
    participant: str
    source: SourcePosition
    def __init__(self, kind: _Optional[str] = ..., id: _Optional[str] = ..., decided_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expired: _Optional[bool] = ..., superseded: _Optional[bool] = ..., participant: _Optional[str] = ..., source: _Optional[_Union[SourcePosition, _Mapping]] = ...) -> None: ...

class Labels(_message.Message):
    __slots__ = ("template", "language", "campaign", "intent")
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    CAMPAIGN_FIELD_NUMBER: _ClassVar[int]
    INTENT_FIELD_NUMBER: _ClassVar[int]
    template: str
    language: str
    campaign: str
    intent: str
    def __init__(self, template: _Optional[str] = ..., language: _Optional[str] = ..., campaign: _Optional[str] = ..., intent: _Optional[str] = ...) -> None: ...

class Media(_message.Message):
    __slots__ = ("id", "mime_type", "sha256", "filename", "voice", "animated", "expire_time")
    ID_FIELD_NUMBER: _ClassVar[int]
    MIME_TYPE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    FILENAME_FIELD_NUMBER: _ClassVar[int]
    VOICE_FIELD_NUMBER: _ClassVar[int]
    ANIMATED_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    id: str
    mime_type: str
    sha256: str
    filename: str
    voice: bool
    animated: bool
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., mime_type: _Optional[str] = ..., sha256: _Optional[str] = ..., filename: _Optional[str] = ..., voice: _Optional[bool] = ..., animated: _Optional[bool] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class MessageChange(_message.Message):
    __slots__ = ("wamid", "event_time")
    WAMID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    wamid: str
    event_time: _timestamp_pb2.Timestamp
    def __init__(self, wamid: _Optional[str] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class MessageReaction(_message.Message):
    __slots__ = ("party", "emoji", "event_time", "wamid")
    PARTY_FIELD_NUMBER: _ClassVar[int]
    EMOJI_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    WAMID_FIELD_NUMBER: _ClassVar[int]
    party: str
    emoji: str
    event_time: _timestamp_pb2.Timestamp
    wamid: str
    def __init__(self, party: _Optional[str] = ..., emoji: _Optional[str] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., wamid: _Optional[str] = ...) -> None: ...

class BillingConversation(_message.Message):
    __slots__ = ("id", "origin", "expire_time")
    ID_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    id: str
    origin: str
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, id: _Optional[str] = ..., origin: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Transition(_message.Message):
    __slots__ = ("from_text", "to", "to_text", "state", "state_text", "late", "event_time", "log_time", "received_time", "participant", "error_code", "source", "ordinal")
    FROM_FIELD_NUMBER: _ClassVar[int]
    FROM_TEXT_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    TO_TEXT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_TEXT_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    LOG_TIME_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_TIME_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_FIELD_NUMBER: _ClassVar[int]
    ERROR_CODE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ORDINAL_FIELD_NUMBER: _ClassVar[int]
    from_text: str
    to: MessageState
    to_text: str
    state: MessageState
    state_text: str
    late: bool
    event_time: _timestamp_pb2.Timestamp
    log_time: _timestamp_pb2.Timestamp
    received_time: _timestamp_pb2.Timestamp
    participant: str
    error_code: int
    source: SourcePosition
    ordinal: int
    def __init__(self, from_text: _Optional[str] = ..., to: _Optional[_Union[MessageState, str]] = ..., to_text: _Optional[str] = ..., state: _Optional[_Union[MessageState, str]] = ..., state_text: _Optional[str] = ..., late: _Optional[bool] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., log_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., received_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., participant: _Optional[str] = ..., error_code: _Optional[int] = ..., source: _Optional[_Union[SourcePosition, _Mapping]] = ..., ordinal: _Optional[int] = ..., **kwargs) -> None: ...

class Message(_message.Message):
    __slots__ = ("wamid", "direction", "state", "state_text", "waba_id", "phone_number_id", "party", "parties", "list_time", "pending_time", "sent_time", "delivered_time", "read_time", "played_time", "failed_time", "inbound_time", "facts", "error_code", "errors", "pricing", "participants", "callback_data", "message_type", "revision", "first_log_time", "last_log_time", "history", "charge", "actions", "alerts", "labels", "template_id", "media", "sender", "reply_to", "target_wamid", "forwarded", "echo", "standby", "group", "content_errors", "edits", "revokes", "reactions", "fbtrace_ids", "billing_conversation")
    WAMID_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_TEXT_FIELD_NUMBER: _ClassVar[int]
    WABA_ID_FIELD_NUMBER: _ClassVar[int]
    PHONE_NUMBER_ID_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    LIST_TIME_FIELD_NUMBER: _ClassVar[int]
    PENDING_TIME_FIELD_NUMBER: _ClassVar[int]
    SENT_TIME_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_TIME_FIELD_NUMBER: _ClassVar[int]
    READ_TIME_FIELD_NUMBER: _ClassVar[int]
    PLAYED_TIME_FIELD_NUMBER: _ClassVar[int]
    FAILED_TIME_FIELD_NUMBER: _ClassVar[int]
    INBOUND_TIME_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    ERROR_CODE_FIELD_NUMBER: _ClassVar[int]
    ERRORS_FIELD_NUMBER: _ClassVar[int]
    PRICING_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANTS_FIELD_NUMBER: _ClassVar[int]
    CALLBACK_DATA_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_TYPE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    FIRST_LOG_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_LOG_TIME_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    CHARGE_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    ALERTS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_ID_FIELD_NUMBER: _ClassVar[int]
    MEDIA_FIELD_NUMBER: _ClassVar[int]
    SENDER_FIELD_NUMBER: _ClassVar[int]
    REPLY_TO_FIELD_NUMBER: _ClassVar[int]
    TARGET_WAMID_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_FIELD_NUMBER: _ClassVar[int]
    ECHO_FIELD_NUMBER: _ClassVar[int]
    STANDBY_FIELD_NUMBER: _ClassVar[int]
    GROUP_FIELD_NUMBER: _ClassVar[int]
    CONTENT_ERRORS_FIELD_NUMBER: _ClassVar[int]
    EDITS_FIELD_NUMBER: _ClassVar[int]
    REVOKES_FIELD_NUMBER: _ClassVar[int]
    REACTIONS_FIELD_NUMBER: _ClassVar[int]
    FBTRACE_IDS_FIELD_NUMBER: _ClassVar[int]
    BILLING_CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    wamid: str
    direction: MessageDirection
    state: MessageState
    state_text: str
    waba_id: str
    phone_number_id: str
    party: str
    parties: _containers.RepeatedScalarFieldContainer[str]
    list_time: _timestamp_pb2.Timestamp
    pending_time: _timestamp_pb2.Timestamp
    sent_time: _timestamp_pb2.Timestamp
    delivered_time: _timestamp_pb2.Timestamp
    read_time: _timestamp_pb2.Timestamp
    played_time: _timestamp_pb2.Timestamp
    failed_time: _timestamp_pb2.Timestamp
    inbound_time: _timestamp_pb2.Timestamp
    facts: _containers.RepeatedCompositeFieldContainer[StatusFact]
    error_code: int
    errors: _containers.RepeatedCompositeFieldContainer[MessageError]
    pricing: Pricing
    participants: _containers.RepeatedCompositeFieldContainer[Participant]
    callback_data: str
    message_type: str
    revision: int
    first_log_time: _timestamp_pb2.Timestamp
    last_log_time: _timestamp_pb2.Timestamp
    history: _containers.RepeatedCompositeFieldContainer[Transition]
    charge: Charge
    actions: _containers.RepeatedCompositeFieldContainer[Decision]
    alerts: _containers.RepeatedCompositeFieldContainer[Decision]
    labels: Labels
    template_id: str
    media: Media
    sender: str
    reply_to: str
    target_wamid: str
    forwarded: bool
    echo: bool
    standby: bool
    group: bool
    content_errors: _containers.RepeatedCompositeFieldContainer[MessageError]
    edits: _containers.RepeatedCompositeFieldContainer[MessageChange]
    revokes: _containers.RepeatedCompositeFieldContainer[MessageChange]
    reactions: _containers.RepeatedCompositeFieldContainer[MessageReaction]
    fbtrace_ids: _containers.RepeatedScalarFieldContainer[str]
    billing_conversation: BillingConversation
    def __init__(self, wamid: _Optional[str] = ..., direction: _Optional[_Union[MessageDirection, str]] = ..., state: _Optional[_Union[MessageState, str]] = ..., state_text: _Optional[str] = ..., waba_id: _Optional[str] = ..., phone_number_id: _Optional[str] = ..., party: _Optional[str] = ..., parties: _Optional[_Iterable[str]] = ..., list_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., pending_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., sent_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., delivered_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., read_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., played_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., failed_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., inbound_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., facts: _Optional[_Iterable[_Union[StatusFact, _Mapping]]] = ..., error_code: _Optional[int] = ..., errors: _Optional[_Iterable[_Union[MessageError, _Mapping]]] = ..., pricing: _Optional[_Union[Pricing, _Mapping]] = ..., participants: _Optional[_Iterable[_Union[Participant, _Mapping]]] = ..., callback_data: _Optional[str] = ..., message_type: _Optional[str] = ..., revision: _Optional[int] = ..., first_log_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_log_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., history: _Optional[_Iterable[_Union[Transition, _Mapping]]] = ..., charge: _Optional[_Union[Charge, _Mapping]] = ..., actions: _Optional[_Iterable[_Union[Decision, _Mapping]]] = ..., alerts: _Optional[_Iterable[_Union[Decision, _Mapping]]] = ..., labels: _Optional[_Union[Labels, _Mapping]] = ..., template_id: _Optional[str] = ..., media: _Optional[_Union[Media, _Mapping]] = ..., sender: _Optional[str] = ..., reply_to: _Optional[str] = ..., target_wamid: _Optional[str] = ..., forwarded: _Optional[bool] = ..., echo: _Optional[bool] = ..., standby: _Optional[bool] = ..., group: _Optional[bool] = ..., content_errors: _Optional[_Iterable[_Union[MessageError, _Mapping]]] = ..., edits: _Optional[_Iterable[_Union[MessageChange, _Mapping]]] = ..., revokes: _Optional[_Iterable[_Union[MessageChange, _Mapping]]] = ..., reactions: _Optional[_Iterable[_Union[MessageReaction, _Mapping]]] = ..., fbtrace_ids: _Optional[_Iterable[str]] = ..., billing_conversation: _Optional[_Union[BillingConversation, _Mapping]] = ...) -> None: ...

class Conversation(_message.Message):
    __slots__ = ("phone_number_id", "party", "waba_id", "window_state", "window_expire_time", "first_inbound_time", "last_inbound_time", "last_outbound_time", "inbound_count", "outbound_count", "revision", "parties", "free_entry_state", "free_entry_expire_time", "contacted", "referral", "call_permission")
    PHONE_NUMBER_ID_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    WABA_ID_FIELD_NUMBER: _ClassVar[int]
    WINDOW_STATE_FIELD_NUMBER: _ClassVar[int]
    WINDOW_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    FIRST_INBOUND_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_INBOUND_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_OUTBOUND_TIME_FIELD_NUMBER: _ClassVar[int]
    INBOUND_COUNT_FIELD_NUMBER: _ClassVar[int]
    OUTBOUND_COUNT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    FREE_ENTRY_STATE_FIELD_NUMBER: _ClassVar[int]
    FREE_ENTRY_EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    CONTACTED_FIELD_NUMBER: _ClassVar[int]
    REFERRAL_FIELD_NUMBER: _ClassVar[int]
    CALL_PERMISSION_FIELD_NUMBER: _ClassVar[int]
    phone_number_id: str
    party: str
    waba_id: str
    window_state: WindowState
    window_expire_time: _timestamp_pb2.Timestamp
    first_inbound_time: _timestamp_pb2.Timestamp
    last_inbound_time: _timestamp_pb2.Timestamp
    last_outbound_time: _timestamp_pb2.Timestamp
    inbound_count: int
    outbound_count: int
    revision: int
    parties: _containers.RepeatedScalarFieldContainer[str]
    free_entry_state: WindowState
    free_entry_expire_time: _timestamp_pb2.Timestamp
    contacted: bool
    referral: Referral
    call_permission: CallPermission
    def __init__(self, phone_number_id: _Optional[str] = ..., party: _Optional[str] = ..., waba_id: _Optional[str] = ..., window_state: _Optional[_Union[WindowState, str]] = ..., window_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., first_inbound_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_inbound_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_outbound_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., inbound_count: _Optional[int] = ..., outbound_count: _Optional[int] = ..., revision: _Optional[int] = ..., parties: _Optional[_Iterable[str]] = ..., free_entry_state: _Optional[_Union[WindowState, str]] = ..., free_entry_expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., contacted: _Optional[bool] = ..., referral: _Optional[_Union[Referral, _Mapping]] = ..., call_permission: _Optional[_Union[CallPermission, _Mapping]] = ...) -> None: ...

class Referral(_message.Message):
    __slots__ = ("event_time", "source_type", "source_id", "ctwa_clid")
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_TYPE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_ID_FIELD_NUMBER: _ClassVar[int]
    CTWA_CLID_FIELD_NUMBER: _ClassVar[int]
    event_time: _timestamp_pb2.Timestamp
    source_type: str
    source_id: str
    ctwa_clid: str
    def __init__(self, event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source_type: _Optional[str] = ..., source_id: _Optional[str] = ..., ctwa_clid: _Optional[str] = ...) -> None: ...

class CallPermission(_message.Message):
    __slots__ = ("permitted", "refused", "event_time", "expire_time")
    PERMITTED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    permitted: bool
    refused: bool
    event_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, permitted: _Optional[bool] = ..., refused: _Optional[bool] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class IdentifierLink(_message.Message):
    __slots__ = ("to", "relation", "event_time")
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    to: str
    relation: IdentifierRelation
    event_time: _timestamp_pb2.Timestamp
    def __init__(self, to: _Optional[str] = ..., relation: _Optional[_Union[IdentifierRelation, str]] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., **kwargs) -> None: ...

class UserPreference(_message.Message):
    __slots__ = ("category", "value", "stopped", "event_time", "party")
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    category: str
    value: str
    stopped: bool
    event_time: _timestamp_pb2.Timestamp
    party: str
    def __init__(self, category: _Optional[str] = ..., value: _Optional[str] = ..., stopped: _Optional[bool] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., party: _Optional[str] = ...) -> None: ...

class User(_message.Message):
    __slots__ = ("waba_id", "parties", "links", "truncated", "preferences", "name", "username", "revision")
    WABA_ID_FIELD_NUMBER: _ClassVar[int]
    PARTIES_FIELD_NUMBER: _ClassVar[int]
    LINKS_FIELD_NUMBER: _ClassVar[int]
    TRUNCATED_FIELD_NUMBER: _ClassVar[int]
    PREFERENCES_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    waba_id: str
    parties: _containers.RepeatedScalarFieldContainer[str]
    links: _containers.RepeatedCompositeFieldContainer[IdentifierLink]
    truncated: bool
    preferences: _containers.RepeatedCompositeFieldContainer[UserPreference]
    name: str
    username: str
    revision: int
    def __init__(self, waba_id: _Optional[str] = ..., parties: _Optional[_Iterable[str]] = ..., links: _Optional[_Iterable[_Union[IdentifierLink, _Mapping]]] = ..., truncated: _Optional[bool] = ..., preferences: _Optional[_Iterable[_Union[UserPreference, _Mapping]]] = ..., name: _Optional[str] = ..., username: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class TemplateEvent(_message.Message):
    __slots__ = ("event", "event_time", "reason", "category", "title", "description", "disable_date")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    DISABLE_DATE_FIELD_NUMBER: _ClassVar[int]
    event: str
    event_time: _timestamp_pb2.Timestamp
    reason: str
    category: str
    title: str
    description: str
    disable_date: str
    def __init__(self, event: _Optional[str] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., reason: _Optional[str] = ..., category: _Optional[str] = ..., title: _Optional[str] = ..., description: _Optional[str] = ..., disable_date: _Optional[str] = ...) -> None: ...

class Template(_message.Message):
    __slots__ = ("waba_id", "template_id", "language", "name", "status", "reason", "category", "event_time", "events", "revision", "pause_end_time", "quality", "previous_quality", "quality_time", "coming_category", "coming_category_time", "detected_category", "components_time", "halt", "history")
    WABA_ID_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_ID_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PAUSE_END_TIME_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_QUALITY_FIELD_NUMBER: _ClassVar[int]
    QUALITY_TIME_FIELD_NUMBER: _ClassVar[int]
    COMING_CATEGORY_FIELD_NUMBER: _ClassVar[int]
    COMING_CATEGORY_TIME_FIELD_NUMBER: _ClassVar[int]
    DETECTED_CATEGORY_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_TIME_FIELD_NUMBER: _ClassVar[int]
    HALT_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    waba_id: str
    template_id: str
    language: str
    name: str
    status: str
    reason: str
    category: str
    event_time: _timestamp_pb2.Timestamp
    events: _containers.RepeatedCompositeFieldContainer[TemplateEvent]
    revision: int
    pause_end_time: _timestamp_pb2.Timestamp
    quality: str
    previous_quality: str
    quality_time: _timestamp_pb2.Timestamp
    coming_category: str
    coming_category_time: _timestamp_pb2.Timestamp
    detected_category: str
    components_time: _timestamp_pb2.Timestamp
    halt: Decision
    history: _containers.RepeatedCompositeFieldContainer[StandingTransition]
    def __init__(self, waba_id: _Optional[str] = ..., template_id: _Optional[str] = ..., language: _Optional[str] = ..., name: _Optional[str] = ..., status: _Optional[str] = ..., reason: _Optional[str] = ..., category: _Optional[str] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., events: _Optional[_Iterable[_Union[TemplateEvent, _Mapping]]] = ..., revision: _Optional[int] = ..., pause_end_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., quality: _Optional[str] = ..., previous_quality: _Optional[str] = ..., quality_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., coming_category: _Optional[str] = ..., coming_category_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., detected_category: _Optional[str] = ..., components_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., halt: _Optional[_Union[Decision, _Mapping]] = ..., history: _Optional[_Iterable[_Union[StandingTransition, _Mapping]]] = ...) -> None: ...

class StandingTransition(_message.Message):
    __slots__ = ("to", "state", "late", "reason", "old_value", "new_value", "event_time", "received_time", "log_time", "source", "ordinal")
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    OLD_VALUE_FIELD_NUMBER: _ClassVar[int]
    NEW_VALUE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_TIME_FIELD_NUMBER: _ClassVar[int]
    LOG_TIME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ORDINAL_FIELD_NUMBER: _ClassVar[int]
    to: str
    state: str
    late: bool
    reason: str
    old_value: str
    new_value: str
    event_time: _timestamp_pb2.Timestamp
    received_time: _timestamp_pb2.Timestamp
    log_time: _timestamp_pb2.Timestamp
    source: SourcePosition
    ordinal: int
    def __init__(self, to: _Optional[str] = ..., state: _Optional[str] = ..., late: _Optional[bool] = ..., reason: _Optional[str] = ..., old_value: _Optional[str] = ..., new_value: _Optional[str] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., received_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., log_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., source: _Optional[_Union[SourcePosition, _Mapping]] = ..., ordinal: _Optional[int] = ..., **kwargs) -> None: ...

class AccountRestriction(_message.Message):
    __slots__ = ("type", "expire_time", "event_time", "in_force")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    type: str
    expire_time: _timestamp_pb2.Timestamp
    event_time: _timestamp_pb2.Timestamp
    in_force: bool
    def __init__(self, type: _Optional[str] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., in_force: _Optional[bool] = ...) -> None: ...

class AccountEvent(_message.Message):
    __slots__ = ("event", "subject", "event_time", "restrictive", "ban_state", "violation_type", "restrictions")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    RESTRICTIVE_FIELD_NUMBER: _ClassVar[int]
    BAN_STATE_FIELD_NUMBER: _ClassVar[int]
    VIOLATION_TYPE_FIELD_NUMBER: _ClassVar[int]
    RESTRICTIONS_FIELD_NUMBER: _ClassVar[int]
    event: str
    subject: str
    event_time: _timestamp_pb2.Timestamp
    restrictive: bool
    ban_state: str
    violation_type: str
    restrictions: _containers.RepeatedCompositeFieldContainer[AccountRestriction]
    def __init__(self, event: _Optional[str] = ..., subject: _Optional[str] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., restrictive: _Optional[bool] = ..., ban_state: _Optional[str] = ..., violation_type: _Optional[str] = ..., restrictions: _Optional[_Iterable[_Union[AccountRestriction, _Mapping]]] = ...) -> None: ...

class Account(_message.Message):
    __slots__ = ("waba_id", "state", "events", "revision", "totals", "restrictions", "ban_state", "ban_time", "review_decision", "review_time", "messaging_limit", "numbers_per_business_max", "numbers_per_account_max", "country", "auth_international_rate_time", "tiers", "display_numbers", "halt", "history")
    WABA_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TOTALS_FIELD_NUMBER: _ClassVar[int]
    RESTRICTIONS_FIELD_NUMBER: _ClassVar[int]
    BAN_STATE_FIELD_NUMBER: _ClassVar[int]
    BAN_TIME_FIELD_NUMBER: _ClassVar[int]
    REVIEW_DECISION_FIELD_NUMBER: _ClassVar[int]
    REVIEW_TIME_FIELD_NUMBER: _ClassVar[int]
    MESSAGING_LIMIT_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_PER_BUSINESS_MAX_FIELD_NUMBER: _ClassVar[int]
    NUMBERS_PER_ACCOUNT_MAX_FIELD_NUMBER: _ClassVar[int]
    COUNTRY_FIELD_NUMBER: _ClassVar[int]
    AUTH_INTERNATIONAL_RATE_TIME_FIELD_NUMBER: _ClassVar[int]
    TIERS_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_NUMBERS_FIELD_NUMBER: _ClassVar[int]
    HALT_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    waba_id: str
    state: str
    events: _containers.RepeatedCompositeFieldContainer[AccountEvent]
    revision: int
    totals: _containers.RepeatedCompositeFieldContainer[ChargeTotal]
    restrictions: _containers.RepeatedCompositeFieldContainer[AccountRestriction]
    ban_state: str
    ban_time: _timestamp_pb2.Timestamp
    review_decision: str
    review_time: _timestamp_pb2.Timestamp
    messaging_limit: str
    numbers_per_business_max: int
    numbers_per_account_max: int
    country: str
    auth_international_rate_time: _timestamp_pb2.Timestamp
    tiers: _containers.RepeatedCompositeFieldContainer[VolumeTier]
    display_numbers: _containers.RepeatedCompositeFieldContainer[DisplayNumber]
    halt: Decision
    history: _containers.RepeatedCompositeFieldContainer[StandingTransition]
    def __init__(self, waba_id: _Optional[str] = ..., state: _Optional[str] = ..., events: _Optional[_Iterable[_Union[AccountEvent, _Mapping]]] = ..., revision: _Optional[int] = ..., totals: _Optional[_Iterable[_Union[ChargeTotal, _Mapping]]] = ..., restrictions: _Optional[_Iterable[_Union[AccountRestriction, _Mapping]]] = ..., ban_state: _Optional[str] = ..., ban_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., review_decision: _Optional[str] = ..., review_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., messaging_limit: _Optional[str] = ..., numbers_per_business_max: _Optional[int] = ..., numbers_per_account_max: _Optional[int] = ..., country: _Optional[str] = ..., auth_international_rate_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., tiers: _Optional[_Iterable[_Union[VolumeTier, _Mapping]]] = ..., display_numbers: _Optional[_Iterable[_Union[DisplayNumber, _Mapping]]] = ..., halt: _Optional[_Union[Decision, _Mapping]] = ..., history: _Optional[_Iterable[_Union[StandingTransition, _Mapping]]] = ...) -> None: ...

class VolumeTier(_message.Message):
    __slots__ = ("month", "region", "category", "tier", "update_time")
    MONTH_FIELD_NUMBER: _ClassVar[int]
    REGION_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    month: str
    region: str
    category: str
    tier: str
    update_time: _timestamp_pb2.Timestamp
    def __init__(self, month: _Optional[str] = ..., region: _Optional[str] = ..., category: _Optional[str] = ..., tier: _Optional[str] = ..., update_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class DisplayNumber(_message.Message):
    __slots__ = ("digits", "phone_number_ids", "standing")
    DIGITS_FIELD_NUMBER: _ClassVar[int]
    PHONE_NUMBER_IDS_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    digits: str
    phone_number_ids: _containers.RepeatedScalarFieldContainer[str]
    standing: NumberStanding
    def __init__(self, digits: _Optional[str] = ..., phone_number_ids: _Optional[_Iterable[str]] = ..., standing: _Optional[_Union[NumberStanding, _Mapping]] = ...) -> None: ...

class NumberStanding(_message.Message):
    __slots__ = ("state", "quality_event", "quality_event_time", "messaging_limit", "requested_name", "name_decision", "name_rejection_reason", "username", "username_status", "security_event", "security_event_time", "security_requester", "restrictions")
    STATE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_EVENT_FIELD_NUMBER: _ClassVar[int]
    QUALITY_EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    MESSAGING_LIMIT_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_NAME_FIELD_NUMBER: _ClassVar[int]
    NAME_DECISION_FIELD_NUMBER: _ClassVar[int]
    NAME_REJECTION_REASON_FIELD_NUMBER: _ClassVar[int]
    USERNAME_FIELD_NUMBER: _ClassVar[int]
    USERNAME_STATUS_FIELD_NUMBER: _ClassVar[int]
    SECURITY_EVENT_FIELD_NUMBER: _ClassVar[int]
    SECURITY_EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    SECURITY_REQUESTER_FIELD_NUMBER: _ClassVar[int]
    RESTRICTIONS_FIELD_NUMBER: _ClassVar[int]
    state: str
    quality_event: str
    quality_event_time: _timestamp_pb2.Timestamp
    messaging_limit: str
    requested_name: str
    name_decision: str
    name_rejection_reason: str
    username: str
    username_status: str
    security_event: str
    security_event_time: _timestamp_pb2.Timestamp
    security_requester: str
    restrictions: _containers.RepeatedCompositeFieldContainer[AccountRestriction]
    def __init__(self, state: _Optional[str] = ..., quality_event: _Optional[str] = ..., quality_event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., messaging_limit: _Optional[str] = ..., requested_name: _Optional[str] = ..., name_decision: _Optional[str] = ..., name_rejection_reason: _Optional[str] = ..., username: _Optional[str] = ..., username_status: _Optional[str] = ..., security_event: _Optional[str] = ..., security_event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., security_requester: _Optional[str] = ..., restrictions: _Optional[_Iterable[_Union[AccountRestriction, _Mapping]]] = ...) -> None: ...

class ChargeTotal(_message.Message):
    __slots__ = ("month", "category", "type", "charges", "billable")
    MONTH_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CHARGES_FIELD_NUMBER: _ClassVar[int]
    BILLABLE_FIELD_NUMBER: _ClassVar[int]
    month: str
    category: str
    type: str
    charges: int
    billable: int
    def __init__(self, month: _Optional[str] = ..., category: _Optional[str] = ..., type: _Optional[str] = ..., charges: _Optional[int] = ..., billable: _Optional[int] = ...) -> None: ...

class Number(_message.Message):
    __slots__ = ("phone_number_id", "waba_id", "display_phone_number", "first_seen_time", "revision", "standing", "active_time", "halts", "history")
    PHONE_NUMBER_ID_FIELD_NUMBER: _ClassVar[int]
    WABA_ID_FIELD_NUMBER: _ClassVar[int]
    DISPLAY_PHONE_NUMBER_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEEN_TIME_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_TIME_FIELD_NUMBER: _ClassVar[int]
    HALTS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    phone_number_id: str
    waba_id: str
    display_phone_number: str
    first_seen_time: _timestamp_pb2.Timestamp
    revision: int
    standing: NumberStanding
    active_time: _timestamp_pb2.Timestamp
    halts: _containers.RepeatedCompositeFieldContainer[Decision]
    history: _containers.RepeatedCompositeFieldContainer[StandingTransition]
    def __init__(self, phone_number_id: _Optional[str] = ..., waba_id: _Optional[str] = ..., display_phone_number: _Optional[str] = ..., first_seen_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., revision: _Optional[int] = ..., standing: _Optional[_Union[NumberStanding, _Mapping]] = ..., active_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., halts: _Optional[_Iterable[_Union[Decision, _Mapping]]] = ..., history: _Optional[_Iterable[_Union[StandingTransition, _Mapping]]] = ...) -> None: ...

class GetMessageRequest(_message.Message):
    __slots__ = ("wamid", "view", "min_position", "at")
    WAMID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    wamid: str
    view: MessageView
    min_position: _containers.RepeatedCompositeFieldContainer[Position]
    at: Moment
    def __init__(self, wamid: _Optional[str] = ..., view: _Optional[_Union[MessageView, str]] = ..., min_position: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., at: _Optional[_Union[Moment, _Mapping]] = ...) -> None: ...

class GetMessageResponse(_message.Message):
    __slots__ = ("message", "as_of")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    message: Message
    as_of: AsOf
    def __init__(self, message: _Optional[_Union[Message, _Mapping]] = ..., as_of: _Optional[_Union[AsOf, _Mapping]] = ...) -> None: ...

class LookupMessagesRequest(_message.Message):
    __slots__ = ("wamids", "view", "min_position")
    WAMIDS_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    wamids: _containers.RepeatedScalarFieldContainer[str]
    view: MessageView
    min_position: _containers.RepeatedCompositeFieldContainer[Position]
    def __init__(self, wamids: _Optional[_Iterable[str]] = ..., view: _Optional[_Union[MessageView, str]] = ..., min_position: _Optional[_Iterable[_Union[Position, _Mapping]]] = ...) -> None: ...

class LookupMessagesResponse(_message.Message):
    __slots__ = ("found", "missing", "as_of")
    FOUND_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    found: _containers.RepeatedCompositeFieldContainer[Message]
    missing: _containers.RepeatedScalarFieldContainer[str]
    as_of: AsOf
    def __init__(self, found: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., missing: _Optional[_Iterable[str]] = ..., as_of: _Optional[_Union[AsOf, _Mapping]] = ...) -> None: ...

class ListMessagesRequest(_message.Message):
    __slots__ = ("phone_number_id", "party", "page_size", "page_token", "view", "min_position", "filter")
    PHONE_NUMBER_ID_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    phone_number_id: str
    party: str
    page_size: int
    page_token: str
    view: MessageView
    min_position: _containers.RepeatedCompositeFieldContainer[Position]
    filter: str
    def __init__(self, phone_number_id: _Optional[str] = ..., party: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., view: _Optional[_Union[MessageView, str]] = ..., min_position: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., filter: _Optional[str] = ...) -> None: ...

class ListMessagesResponse(_message.Message):
    __slots__ = ("messages", "next_page_token", "as_of")
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    next_page_token: str
    as_of: AsOf
    def __init__(self, messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., as_of: _Optional[_Union[AsOf, _Mapping]] = ...) -> None: ...

class GetConversationRequest(_message.Message):
    __slots__ = ("phone_number_id", "party", "min_position", "message_count", "message_view", "at")
    PHONE_NUMBER_ID_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_COUNT_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_VIEW_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    phone_number_id: str
    party: str
    min_position: _containers.RepeatedCompositeFieldContainer[Position]
    message_count: int
    message_view: MessageView
    at: Moment
    def __init__(self, phone_number_id: _Optional[str] = ..., party: _Optional[str] = ..., min_position: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., message_count: _Optional[int] = ..., message_view: _Optional[_Union[MessageView, str]] = ..., at: _Optional[_Union[Moment, _Mapping]] = ...) -> None: ...

class GetConversationResponse(_message.Message):
    __slots__ = ("conversation", "as_of", "messages", "next_page_token")
    CONVERSATION_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    conversation: Conversation
    as_of: AsOf
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    next_page_token: str
    def __init__(self, conversation: _Optional[_Union[Conversation, _Mapping]] = ..., as_of: _Optional[_Union[AsOf, _Mapping]] = ..., messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetTemplateRequest(_message.Message):
    __slots__ = ("waba_id", "template_id", "language", "min_position", "at")
    WABA_ID_FIELD_NUMBER: _ClassVar[int]
    TEMPLATE_ID_FIELD_NUMBER: _ClassVar[int]
    LANGUAGE_FIELD_NUMBER: _ClassVar[int]
    MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    waba_id: str
    template_id: str
    language: str
    min_position: _containers.RepeatedCompositeFieldContainer[Position]
    at: Moment
    def __init__(self, waba_id: _Optional[str] = ..., template_id: _Optional[str] = ..., language: _Optional[str] = ..., min_position: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., at: _Optional[_Union[Moment, _Mapping]] = ...) -> None: ...

class GetTemplateResponse(_message.Message):
    __slots__ = ("template", "as_of")
    TEMPLATE_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    template: Template
    as_of: AsOf
    def __init__(self, template: _Optional[_Union[Template, _Mapping]] = ..., as_of: _Optional[_Union[AsOf, _Mapping]] = ...) -> None: ...

class GetAccountRequest(_message.Message):
    __slots__ = ("waba_id", "min_position", "month", "at")
    WABA_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    MONTH_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    waba_id: str
    min_position: _containers.RepeatedCompositeFieldContainer[Position]
    month: str
    at: Moment
    def __init__(self, waba_id: _Optional[str] = ..., min_position: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., month: _Optional[str] = ..., at: _Optional[_Union[Moment, _Mapping]] = ...) -> None: ...

class GetAccountResponse(_message.Message):
    __slots__ = ("account", "as_of")
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    account: Account
    as_of: AsOf
    def __init__(self, account: _Optional[_Union[Account, _Mapping]] = ..., as_of: _Optional[_Union[AsOf, _Mapping]] = ...) -> None: ...

class GetNumberRequest(_message.Message):
    __slots__ = ("phone_number_id", "min_position", "at")
    PHONE_NUMBER_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    phone_number_id: str
    min_position: _containers.RepeatedCompositeFieldContainer[Position]
    at: Moment
    def __init__(self, phone_number_id: _Optional[str] = ..., min_position: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., at: _Optional[_Union[Moment, _Mapping]] = ...) -> None: ...

class GetNumberResponse(_message.Message):
    __slots__ = ("number", "as_of")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    number: Number
    as_of: AsOf
    def __init__(self, number: _Optional[_Union[Number, _Mapping]] = ..., as_of: _Optional[_Union[AsOf, _Mapping]] = ...) -> None: ...

class ListTemplatesRequest(_message.Message):
    __slots__ = ("waba_id", "status", "quality", "page_size", "page_token", "min_position", "filter")
    WABA_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    waba_id: str
    status: str
    quality: str
    page_size: int
    page_token: str
    min_position: _containers.RepeatedCompositeFieldContainer[Position]
    filter: str
    def __init__(self, waba_id: _Optional[str] = ..., status: _Optional[str] = ..., quality: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., min_position: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., filter: _Optional[str] = ...) -> None: ...

class ListTemplatesResponse(_message.Message):
    __slots__ = ("templates", "next_page_token", "as_of")
    TEMPLATES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    templates: _containers.RepeatedCompositeFieldContainer[Template]
    next_page_token: str
    as_of: AsOf
    def __init__(self, templates: _Optional[_Iterable[_Union[Template, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., as_of: _Optional[_Union[AsOf, _Mapping]] = ...) -> None: ...

class ListAccountsRequest(_message.Message):
    __slots__ = ("state", "restriction_type", "page_size", "page_token", "min_position", "filter")
    STATE_FIELD_NUMBER: _ClassVar[int]
    RESTRICTION_TYPE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    state: str
    restriction_type: str
    page_size: int
    page_token: str
    min_position: _containers.RepeatedCompositeFieldContainer[Position]
    filter: str
    def __init__(self, state: _Optional[str] = ..., restriction_type: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., min_position: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., filter: _Optional[str] = ...) -> None: ...

class ListAccountsResponse(_message.Message):
    __slots__ = ("accounts", "next_page_token", "as_of")
    ACCOUNTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    accounts: _containers.RepeatedCompositeFieldContainer[Account]
    next_page_token: str
    as_of: AsOf
    def __init__(self, accounts: _Optional[_Iterable[_Union[Account, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., as_of: _Optional[_Union[AsOf, _Mapping]] = ...) -> None: ...

class ListNumbersRequest(_message.Message):
    __slots__ = ("waba_id", "state", "quality_event", "restriction_type", "page_size", "page_token", "min_position", "filter")
    WABA_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    QUALITY_EVENT_FIELD_NUMBER: _ClassVar[int]
    RESTRICTION_TYPE_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    waba_id: str
    state: str
    quality_event: str
    restriction_type: str
    page_size: int
    page_token: str
    min_position: _containers.RepeatedCompositeFieldContainer[Position]
    filter: str
    def __init__(self, waba_id: _Optional[str] = ..., state: _Optional[str] = ..., quality_event: _Optional[str] = ..., restriction_type: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., min_position: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., filter: _Optional[str] = ...) -> None: ...

class ListNumbersResponse(_message.Message):
    __slots__ = ("numbers", "next_page_token", "as_of")
    NUMBERS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    numbers: _containers.RepeatedCompositeFieldContainer[Number]
    next_page_token: str
    as_of: AsOf
    def __init__(self, numbers: _Optional[_Iterable[_Union[Number, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., as_of: _Optional[_Union[AsOf, _Mapping]] = ...) -> None: ...

class GetUserRequest(_message.Message):
    __slots__ = ("waba_id", "party", "min_position", "at")
    WABA_ID_FIELD_NUMBER: _ClassVar[int]
    PARTY_FIELD_NUMBER: _ClassVar[int]
    MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    waba_id: str
    party: str
    min_position: _containers.RepeatedCompositeFieldContainer[Position]
    at: Moment
    def __init__(self, waba_id: _Optional[str] = ..., party: _Optional[str] = ..., min_position: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., at: _Optional[_Union[Moment, _Mapping]] = ...) -> None: ...

class GetUserResponse(_message.Message):
    __slots__ = ("user", "as_of")
    USER_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    user: User
    as_of: AsOf
    def __init__(self, user: _Optional[_Union[User, _Mapping]] = ..., as_of: _Optional[_Union[AsOf, _Mapping]] = ...) -> None: ...

class FindMessagesRequest(_message.Message):
    __slots__ = ("fbtrace_id", "labels", "from_time", "to_time", "page_size", "page_token", "view", "min_position", "filter")
    FBTRACE_ID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    FROM_TIME_FIELD_NUMBER: _ClassVar[int]
    TO_TIME_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    fbtrace_id: str
    labels: Labels
    from_time: _timestamp_pb2.Timestamp
    to_time: _timestamp_pb2.Timestamp
    page_size: int
    page_token: str
    view: MessageView
    min_position: _containers.RepeatedCompositeFieldContainer[Position]
    filter: str
    def __init__(self, fbtrace_id: _Optional[str] = ..., labels: _Optional[_Union[Labels, _Mapping]] = ..., from_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., to_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., view: _Optional[_Union[MessageView, str]] = ..., min_position: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., filter: _Optional[str] = ...) -> None: ...

class FindMessagesResponse(_message.Message):
    __slots__ = ("messages", "next_page_token", "as_of")
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[Message]
    next_page_token: str
    as_of: AsOf
    def __init__(self, messages: _Optional[_Iterable[_Union[Message, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., as_of: _Optional[_Union[AsOf, _Mapping]] = ...) -> None: ...

class ExplainMessageRequest(_message.Message):
    __slots__ = ("wamid", "view", "limit", "min_position", "at")
    WAMID_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    MIN_POSITION_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    wamid: str
    view: MessageView
    limit: int
    min_position: _containers.RepeatedCompositeFieldContainer[Position]
    at: Moment
    def __init__(self, wamid: _Optional[str] = ..., view: _Optional[_Union[MessageView, str]] = ..., limit: _Optional[int] = ..., min_position: _Optional[_Iterable[_Union[Position, _Mapping]]] = ..., at: _Optional[_Union[Moment, _Mapping]] = ...) -> None: ...

class ExplainMessageResponse(_message.Message):
    __slots__ = ("record", "end")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    record: ExplainedRecord
    end: Explanation
    def __init__(self, record: _Optional[_Union[ExplainedRecord, _Mapping]] = ..., end: _Optional[_Union[Explanation, _Mapping]] = ...) -> None: ...

class ExplainedRecord(_message.Message):
    __slots__ = ("source", "kind", "request_id", "log_time", "received_time", "outcome", "items", "learned", "transitions", "charges", "actions", "alerts", "too_old", "redrive_of")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    LOG_TIME_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_TIME_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    LEARNED_FIELD_NUMBER: _ClassVar[int]
    TRANSITIONS_FIELD_NUMBER: _ClassVar[int]
    CHARGES_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    ALERTS_FIELD_NUMBER: _ClassVar[int]
    TOO_OLD_FIELD_NUMBER: _ClassVar[int]
    REDRIVE_OF_FIELD_NUMBER: _ClassVar[int]
    source: SourcePosition
    kind: str
    request_id: str
    log_time: _timestamp_pb2.Timestamp
    received_time: _timestamp_pb2.Timestamp
    outcome: RecordOutcome
    items: _containers.RepeatedCompositeFieldContainer[ExplainedItem]
    learned: _containers.RepeatedCompositeFieldContainer[LearnedFact]
    transitions: _containers.RepeatedCompositeFieldContainer[Transition]
    charges: _containers.RepeatedCompositeFieldContainer[Charge]
    actions: _containers.RepeatedCompositeFieldContainer[Decision]
    alerts: _containers.RepeatedCompositeFieldContainer[Decision]
    too_old: bool
    redrive_of: SourcePosition
    def __init__(self, source: _Optional[_Union[SourcePosition, _Mapping]] = ..., kind: _Optional[str] = ..., request_id: _Optional[str] = ..., log_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., received_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., outcome: _Optional[_Union[RecordOutcome, str]] = ..., items: _Optional[_Iterable[_Union[ExplainedItem, _Mapping]]] = ..., learned: _Optional[_Iterable[_Union[LearnedFact, _Mapping]]] = ..., transitions: _Optional[_Iterable[_Union[Transition, _Mapping]]] = ..., charges: _Optional[_Iterable[_Union[Charge, _Mapping]]] = ..., actions: _Optional[_Iterable[_Union[Decision, _Mapping]]] = ..., alerts: _Optional[_Iterable[_Union[Decision, _Mapping]]] = ..., too_old: _Optional[bool] = ..., redrive_of: _Optional[_Union[SourcePosition, _Mapping]] = ...) -> None: ...

class ExplainedItem(_message.Message):
    __slots__ = ("path", "word", "naming", "participant", "event_time")
    PATH_FIELD_NUMBER: _ClassVar[int]
    WORD_FIELD_NUMBER: _ClassVar[int]
    NAMING_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    path: str
    word: str
    naming: str
    participant: str
    event_time: _timestamp_pb2.Timestamp
    def __init__(self, path: _Optional[str] = ..., word: _Optional[str] = ..., naming: _Optional[str] = ..., participant: _Optional[str] = ..., event_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class LearnedFact(_message.Message):
    __slots__ = ("name", "value", "participant")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    PARTICIPANT_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    participant: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ..., participant: _Optional[str] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("ranges", "complete", "as_of")
    RANGES_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    ranges: _containers.RepeatedCompositeFieldContainer[ExplainedRange]
    complete: bool
    as_of: AsOf
    def __init__(self, ranges: _Optional[_Iterable[_Union[ExplainedRange, _Mapping]]] = ..., complete: _Optional[bool] = ..., as_of: _Optional[_Union[AsOf, _Mapping]] = ...) -> None: ...

class ExplainedRange(_message.Message):
    __slots__ = ("partition", "from_offset", "until_offset", "records")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    FROM_OFFSET_FIELD_NUMBER: _ClassVar[int]
    UNTIL_OFFSET_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    partition: int
    from_offset: int
    until_offset: int
    records: int
    def __init__(self, partition: _Optional[int] = ..., from_offset: _Optional[int] = ..., until_offset: _Optional[int] = ..., records: _Optional[int] = ...) -> None: ...
