"""What the worker talks about: plain frozen values, no I/O. Times are seconds."""

import hashlib
import json
import re
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import Self

from worker.errors import ToolError
from worker.personal import Personal

PLATFORM_ID = re.compile(r"[!-~]{1,256}")
"""An id of the platform (run, session, thread): visible ASCII, no prefix assumed (contract §3)."""


class RunState(StrEnum):
    """Contract §3: `watching` until the platform or a rule ends it, `lost` always with a reason."""

    WATCHING = "watching"
    ENDED = "ended"
    LOST = "lost"


class CallState(StrEnum):
    """Contract §3. `received`: recorded, nothing sent. `running`: an attempt has begun."""

    RECEIVED = "received"
    RUNNING = "running"
    DONE = "done"
    REJECTED = "rejected"
    FAILED = "failed"
    UNKNOWN = "unknown"
    NO_PROTOCOL = "no_protocol"

    @property
    def open(self) -> bool:
        """No outcome is recorded yet."""
        return self in {CallState.RECEIVED, CallState.RUNNING}


class ToolKind(StrEnum):
    """What a tool does for the customer; stored with each call."""

    #: Opens a ticket at the CRM: has a protocolo, counts in the KPIs, gives `ticket.*` events.
    TICKET = "ticket"
    #: Hands the conversation over to a person.
    HANDOFF = "handoff"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class RunRef:
    """Where the platform finds one execution."""

    run_id: str
    thread_id: str | None


class ThreadRule(Enum):
    """How a platform's runs relate to the thread (session, conversation) that a customer's talk lives in."""

    REQUIRED = "required"
    """A run can be found only through its thread."""

    OPTIONAL = "optional"
    """A run is found by its own id; it may or may not belong to a thread."""

    IS_THE_RUN = "is_the_run"
    """The run is the thread: it is watched again whenever it works."""


@dataclass(frozen=True, slots=True)
class Traits:
    """How one platform's runs differ from another's. The loop reads these and knows no platform by name."""

    thread: ThreadRule
    #: Each answer is submitted as soon as it is ready; otherwise all answers of a poll go in one submit.
    one_by_one: bool = False
    #: A submit creates a run under a new id and leaves the old run as it was. It is not idempotent, so it is
    #: recorded before it is made.
    new_run_per_round: bool = False
    #: An end seen within this many seconds of the announcement may belong to the work before it.
    settling_s: float = 0.0
    #: A run is watched for at most this many seconds, unless the platform names the time it expires.
    life_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class Run:
    """A run that this process has claimed."""

    ref: RunRef
    conversation_id: str
    #: Fencing token: the store refuses writes under an older one.
    epoch: int
    #: Rounds answered so far.
    rounds: int
    #: Seconds since the run was announced or discovered.
    known_s: float
    #: Wake-ups that the database had counted when it was claimed.
    wake_count: int = 0


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One function call as the platform shows it.

    Some servers restart call ids in every round. So a call is identified by its id and its content.
    """

    platform_call_id: str
    #: The function's name as the ledger records it.
    tool: str
    #: The model's JSON text, not parsed yet.
    arguments: Personal
    turn_id: str | None = None
    #: The name as the model wrote it, where the ledger records another one. Never stored.
    written_name: str | None = field(default=None, repr=False)
    #: Hash of the name as written and the canonical arguments. Not keyed: it stays in memory, or goes to the
    #: platform that the arguments came from.
    content: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        written = json.dumps([self.written_name or self.tool, _canonical(self.arguments.reveal())])
        object.__setattr__(self, "content", hashlib.sha256(written.encode()).hexdigest())

    @property
    def identity(self) -> "CallIdentity":
        """What distinguishes this call from the others of its run."""
        return self.turn_id, self.platform_call_id, self.content


CallIdentity = tuple[str | None, str, str]
"""A call within its run: the turn, where the platform has turns, the platform's id, and its content."""


def _canonical(arguments: str) -> str:
    """Arguments without differences in white space and in the order of their names.

    Numbers keep their digits. Text that is not JSON stays as it is.
    """
    try:
        read = json.loads(arguments.strip() or "{}", parse_int=_digits, parse_float=_digits)
        return json.dumps(read, sort_keys=True)
    except (ValueError, RecursionError):
        return arguments


def _digits(number: str) -> list[str]:
    """A number by its digits, because Python refuses some numbers and rounds others."""
    return ["number", number]


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one call, as it is submitted to the platform."""

    platform_call_id: str
    #: The JSON object of contract §6.
    output: Personal
    #: The `success` of that object.
    success: bool
    turn_id: str | None = None
    #: `ToolCall.content` of the call. It distinguishes two calls with one id.
    content: str = field(default="", repr=False)


class RunStatus(Enum):
    """What a run does, in terms that all platforms share."""

    WORKING = "working"
    REQUIRES_ACTION = "requires_action"
    ENDED = "ended"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class RunSnapshot:
    """A run as one poll found it."""

    status: RunStatus
    #: The platform's own word for it.
    platform_status: str
    #: Calls that wait for an answer.
    calls: tuple[ToolCall, ...] = ()
    #: Calls that wait for an answer and have no id to send it under.
    unanswerable: int = 0
    #: Why the run ended or was lost.
    reason: str | None = None
    #: Seconds until the platform gives the run up, judged by the platform's clock.
    expires_in_s: float | None = None
    #: The platform's hint: not polled again before this many seconds.
    poll_after_s: float | None = None
    #: The thread that the platform names for a run that was announced without one.
    thread_id: str | None = None
    #: The assistant's text in an ended run; None where the run itself does not hold it.
    reply: Personal | None = None
    #: Tokens used so far by the run, on `agents` by the whole session; None if the platform reports none.
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Image:
    """A picture that a customer sends."""

    name: str
    #: Such as `image/png`.
    media_type: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Utterance:
    """One message to an assistant: a text, a picture, or both."""

    text: str
    image: Image | None = None


@dataclass(frozen=True, slots=True)
class Spoken:
    """The assistant's reply in one run."""

    #: None if the assistant wrote nothing.
    text: str | None
    #: Why the run failed, where its status does not show it. On `agents`, a session is idle after a failed
    #: turn as well.
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the bot has registered about one customer."""

    conversation_id: str
    thread_id: str | None = None
    document: Personal | None = None
    contact: Personal | None = None
    #: Set only while a fresh receipt is unused.
    receipt_url: Personal | None = None
    #: When the store read it, seconds since the epoch by the database's clock.
    read_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Attendance:
    """When people can take a hand-off. Seconds since the epoch."""

    #: When the request was made.
    requested_at: float
    #: When attendance resumes; None when it is open.
    opens_at: float | None = None
    #: By when a person must have accepted it; None without a deadline.
    due_at: float | None = None


@dataclass(frozen=True, slots=True)
class Intent:
    """What a tool decided to do, before anything is done."""

    #: Folded values. Two calls of a conversation with the same values are equal (contract §6). Stored as a
    #: keyed hash.
    equal_on: tuple[str, ...] = field(repr=False)
    #: The payload: what is sent or stored on behalf of the customer.
    body: Personal
    setor: str | None = None
    motivo: str | None = None
    departamento: str | None = None
    #: Setor and motivo had the catalogue's exact spelling (KPI `invalid_rate_raw`); None without them.
    exact: bool | None = None
    #: The call sends the conversation's receipt, which counts as used from then on.
    uses_receipt: bool = False
    #: Set when recording the intent is the whole effect (a hand-off). Otherwise the call is sent.
    answer: Personal | None = None
    #: Only hand-offs have one.
    attendance: Attendance | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """A call that is not carried out; its answer tells the model why."""

    #: A code of contract §6.
    code: str
    answer: Personal
    setor: str | None = None
    #: As in `Intent`; None unless setor and motivo were both present.
    exact: bool | None = None
    #: REJECTED if the model can correct the call, FAILED if it cannot.
    state: CallState = CallState.REJECTED

    @classmethod
    def of(
        cls,
        error: ToolError,
        setor: str | None = None,
        exact: bool | None = None,
        state: CallState = CallState.REJECTED,
    ) -> Self:
        """The rejection whose answer is this error."""
        return cls(error.code, Personal.json(error.answer()), setor, exact, state)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a call."""

    state: CallState
    #: A code of contract §6.
    error: str | None = None
    protocolo: str | None = None
    #: No ticket was opened, for certain.
    certain: bool = True
    #: The protocolo comes from a lookup, not from the CRM's answer to an attempt.
    from_lookup: bool = False
    #: The outcome to record if the protocolo of a lookup belongs to another call.
    fallback: "Outcome | None" = None
    #: The text that one of the bot's tools returns to the model. The worker does not parse it.
    output: Personal | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One row of the ledger, as the dispatcher needs it."""

    call_id: str
    run_id: str
    conversation_id: str
    tool: str
    state: CallState
    kind: ToolKind = ToolKind.OTHER
    #: Attempts begun so far.
    attempts: int = 0
    #: Some attempt may have opened a ticket.
    maybe_sent: bool = False
    #: None for a call that sends nothing itself.
    idempotency_key: str | None = None
    #: `Intent.body`; None once it was erased.
    body: Personal | None = field(default=None, repr=False)
    #: The earlier equal call of the conversation, by its id.
    equal_to: str | None = None
    setor: str | None = None
    motivo: str | None = None
    departamento: str | None = None
    protocolo: str | None = None
    error: str | None = None
    #: The answer for the model. It is set once and never changes.
    answer: Personal | None = None
    #: `Answer.success` of that answer.
    answered_success: bool = False
    #: Attempts made before an operator asked for another try.
    retry_from: int = 0
    #: An operator has asked for another try, and it is not over.
    retrying: bool = False
    #: The call has been answered, even if the answer is no longer stored.
    answered: bool = False
    #: The customer's data was erased: the payload is deleted as soon as no attempt needs it.
    erased: bool = False
    #: The process that works on the call, if any.
    owner: str | None = None
    #: No run of the call is watched.
    run_gone: bool = False
    #: Seconds since the epoch.
    received_at: float = 0.0
    #: Seconds between its receipt and the reading of this record.
    age_s: float = field(default=0.0, compare=False)
    #: Attempts without a recorded end: the process died, or could not record the end.
    cut_off: int = 0
    #: The platform's id of the call, by which an operator finds it there.
    platform_call_id: str = ""

    @property
    def unsent(self) -> bool:
        """It failed without an attempt of its own."""
        return self.state is CallState.FAILED and self.attempts == 0 and self.idempotency_key is not None

    @property
    def waits(self) -> bool:
        """This call sends nothing: it takes over the outcome of the earlier equal call."""
        return self.equal_to is not None and self.idempotency_key is None

    @property
    def orphaned(self) -> bool:
        """The call was never sent, its run is gone, and no operator has asked for another try."""
        return self.state is CallState.RECEIVED and self.run_gone and not self.retrying


class EventState(StrEnum):
    """`stuck`: not delivered in 72 h of trying, needs a person. `discarded`: a person gave it up."""

    PENDING = "pending"
    DELIVERED = "delivered"
    STUCK = "stuck"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Event:
    """One event on its way to the bot."""

    event_id: str
    #: Its JSON, which holds no personal value.
    body: str
    #: Deliveries that have failed.
    tries: int
    #: The process that has claimed it.
    owner: str


@dataclass(frozen=True, slots=True)
class Sent:
    """When a call's requests were sent, and for how long they may still take effect."""

    #: When the first attempt began, seconds since the epoch.
    first_at: float
    #: Seconds for which the CRM may still commit a request; 0 once it cannot.
    settles_in_s: float


class ReplySource(StrEnum):
    """Who had a reply checked: the bot before it was sent, or the worker after the run had ended."""

    API = "api"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class SweepCounts:
    """What one night's retention removed."""

    #: Columns that were emptied, in rows that stay.
    payloads: int = 0
    contacts: int = 0
    #: Rows that were deleted.
    calls: int = 0
    runs: int = 0
    conversations: int = 0
    events: int = 0
    webhooks: int = 0
    accesses: int = 0
    erasures: int = 0
    replies: int = 0
