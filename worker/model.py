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
    """How a platform's runs are driven, where platforms differ: the loop knows none of them by name. Seconds.

    `one_by_one`: each answer is submitted as soon as it is known, not all of a look's at once.
    `new_run_per_round`: a submit creates a run under a new id, is not idempotent, and leaves the old one as
    it was; so a submit is recorded before it is made.
    `settling_s`: an end seen this soon after the announcement may be that of the work before.
    `life_s`: no run is watched longer, unless the platform says when it expires.
    """

    thread: ThreadRule
    one_by_one: bool = False
    new_run_per_round: bool = False
    settling_s: float = 0.0
    life_s: float = 86_400.0


@dataclass(frozen=True, slots=True)
class Run:
    """A run this process has claimed. `epoch` is its fencing token, `known_s` how long it has been known.

    `woken`: how often something has asked for a look at it.
    """

    ref: RunRef
    conversation_id: str
    epoch: int
    rounds: int
    known_s: float
    woken: int = 0


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One function call as the platform shows it.

    Some servers restart call ids in every round, so an id alone does not identify a call: its content does
    as well.
    """

    platform_call_id: str
    #: The function's name as the ledger records it.
    tool: str
    #: The model's JSON text, unread.
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
    """Arguments in one spelling whatever their white space and the order of their names.

    Numbers keep their digits. What is no JSON stays as it is.
    """
    try:
        read = json.loads(arguments.strip() or "{}", parse_int=_digits, parse_float=_digits)
        return json.dumps(read, sort_keys=True)
    except (ValueError, RecursionError):
        return arguments


def _digits(written: str) -> list[str]:
    """A number as a value that no other JSON has: Python refuses some of them, and rounds others."""
    return ["number", written]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call gets back: `output` is the JSON object of contract §6, `success` its own field."""

    platform_call_id: str
    output: Personal
    success: bool
    turn_id: str | None = None
    #: `ToolCall.content` of the call: tells two calls of one id apart.
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
    #: What the assistant said in an ended run, where the run itself holds it; None: not told here.
    reply: Personal | None = None
    #: Tokens used so far, where the platform tells: by the run, on `agents` by the whole session.
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
    """What an assistant said in a run."""

    #: None: nothing.
    text: str | None
    #: Why the run failed, where its end does not tell (`agents`: a session is idle after a failed turn, too).
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the bot told us of one customer. `receipt_url` is set only while a fresh receipt is unused."""

    conversation_id: str
    thread_id: str | None = None
    document: Personal | None = None
    contact: Personal | None = None
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
    """What a tool decided to do, before anything is done.

    `equal_on`: folded values that make two calls of a conversation equal (contract §6); kept as a keyed hash.
    `exact`: setor and motivo came in the catalogue's exact spelling (KPI `invalid_rate_raw`).
    `body`: what is sent, or remembered, on behalf of the customer (payload).
    `answer`: given when recording the intent is the whole effect (a hand-off); else the call is sent.
    """

    equal_on: tuple[str, ...] = field(repr=False)
    body: Personal
    setor: str | None = None
    motivo: str | None = None
    departamento: str | None = None
    exact: bool | None = None
    uses_receipt: bool = False
    answer: Personal | None = None
    #: Of a hand-off only.
    attendance: Attendance | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """Nothing is done, and the model is told why. `exact`: None unless setor and motivo were both present.

    `state` is REJECTED where the model must correct itself, FAILED where it cannot.
    """

    code: str
    answer: Personal
    setor: str | None = None
    exact: bool | None = None
    state: CallState = CallState.REJECTED

    @classmethod
    def of(
        cls,
        error: ToolError,
        setor: str | None = None,
        exact: bool | None = None,
        state: CallState = CallState.REJECTED,
    ) -> Self:
        """What the model reads instead of a success."""
        return cls(error.code, Personal.json(error.answer()), setor, exact, state)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a call. `error` is a code of contract §6; `certain`: surely nothing was opened.

    `found`: the protocolo is of a ticket that a lookup showed, not the answer to an attempt. `otherwise`:
    what holds if that is another call's. `output`: what a tool of the bot has the model told, unread.
    """

    state: CallState
    error: str | None = None
    protocolo: str | None = None
    certain: bool = True
    found: bool = False
    otherwise: "Outcome | None" = None
    output: Personal | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class CallRecord:
    """One row of the ledger, as the dispatcher needs it. `answer` is set once and never changes.

    `maybe_sent`: some attempt may have opened something. `retry_from`: attempts made before an operator asked
    for another try. `answered`: an answer was given, also where it is no longer kept. `erased`: its payload
    goes as soon as nobody needs it any more. `owner`: the process that works on it, if any.
    """

    call_id: str
    run_id: str
    conversation_id: str
    tool: str
    state: CallState
    kind: ToolKind = ToolKind.OTHER
    attempts: int = 0
    maybe_sent: bool = False
    idempotency_key: str | None = None
    body: Personal | None = field(default=None, repr=False)
    equal_to: str | None = None
    setor: str | None = None
    motivo: str | None = None
    departamento: str | None = None
    protocolo: str | None = None
    error: str | None = None
    answer: Personal | None = None
    answered_success: bool = False
    retry_from: int = 0
    retrying: bool = False
    answered: bool = False
    erased: bool = False
    owner: str | None = None
    run_gone: bool = False
    received_at: float = 0.0
    #: Seconds since it was received, when it was read.
    age_s: float = field(default=0.0, compare=False)
    #: Attempts that are still open: the process that made them died, or cannot record what became of them.
    cut_off: int = 0

    @property
    def unsent(self) -> bool:
        """It failed without an attempt of its own."""
        return self.state is CallState.FAILED and self.attempts == 0 and self.idempotency_key is not None

    @property
    def waits(self) -> bool:
        """This call sends nothing: it takes over what becomes of the equal call before it."""
        return self.equal_to is not None and self.idempotency_key is None

    @property
    def orphaned(self) -> bool:
        """Never sent, and its run is gone: nobody waits for it any more, unless an operator does."""
        return self.state is CallState.RECEIVED and self.run_gone and not self.retrying


class EventState(StrEnum):
    """`stuck`: not delivered in 72 h of trying, needs a person. `discarded`: a person gave it up."""

    PENDING = "pending"
    DELIVERED = "delivered"
    STUCK = "stuck"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Event:
    """One event on its way to the bot. `body` is its JSON, which holds no personal value.

    `tries`: how many have failed. `owner`: the process that has claimed it.
    """

    event_id: str
    body: str
    tries: int
    owner: str


@dataclass(frozen=True, slots=True)
class Sent:
    """What a call has sent so far. `first_at`: seconds since the epoch, when its first attempt began.

    `settles_in_s`: how long the CRM may still commit what was sent (0: not any more).
    """

    first_at: float
    settles_in_s: float


class ReplySource(StrEnum):
    """Who had a reply checked: the bot before it was sent, or the worker after the run had ended."""

    API = "api"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class Swept:
    """What one night's retention took: `payloads` and `contacts` were emptied, the others are rows."""

    payloads: int = 0
    contacts: int = 0
    calls: int = 0
    runs: int = 0
    conversations: int = 0
    events: int = 0
    webhooks: int = 0
    accesses: int = 0
    erasures: int = 0
    replies: int = 0
