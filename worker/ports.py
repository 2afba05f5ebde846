"""The seams the core stands on: what it asks of a platform, of a tool and of the store."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from worker.model import (
    Answer,
    CallRecord,
    Conversation,
    Intent,
    Outcome,
    Rejection,
    ReplySource,
    Run,
    RunRef,
    RunSnapshot,
    RunState,
    Sent,
    Spoken,
    ToolCall,
    ToolKind,
    Traits,
    Utterance,
)
from worker.personal import Personal
from worker.replies import Code, Facts

LEASE_S = 10.0
"""How long a claim lasts without a heartbeat: a dead process's runs are taken over within this plus 1 s."""


class Clock(Protocol):
    """Time and waiting, passed in so that tests own them. Seconds."""

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class Platform(Protocol):
    """One assistants platform. Every method raises only `PlatformError`s."""

    name: str
    traits: Traits

    async def probe(self) -> Sequence[str]:
        """Ask once, at start, whether this base URL serves this protocol; warnings are Portuguese sentences.

        Raises only `PlatformGone`.
        """

    async def inspect(self, ref: RunRef) -> RunSnapshot:
        """What the run wants now; a foreign thread is LOST with `isolamento`. Raises `RunGone` on 404."""

    async def submit(self, ref: RunRef, answers: Sequence[Answer], *, again: bool = False) -> RunRef | None:
        """Hand over the answers of one look, once, without retries of its own.

        Returning means accepted; where the conversation goes on under a new id, that is returned. Any error
        means: look again before judging. `again`: a submit of this run was begun before, and what became of
        it is not known (only where `Traits.new_run_per_round`).
        """

    async def discover(self, thread_id: str) -> RunRef | None:
        """The thread's newest run, if it is still at work and of an assistant we serve."""

    async def listed(self) -> Sequence[tuple[str, str]]:
        """Of the newest threads, those whose metadata names a conversation: (conversation, thread).

        Nothing where the platform lists no threads.
        """

    async def thread_of(self, run_id: str) -> str | None:
        """The thread of a run that is known by its id only; None when it has none, or needs it to be found.

        Raises `RunGone` on 404.
        """

    async def reply(self, ref: RunRef) -> Spoken:
        """What the assistant said in this run, which has ended: one read. Raises `PlatformError`."""

    def converse(self, assistant: str | Mapping[str, object]) -> "Dialogue":
        """Begin a conversation with an assistant, for a rehearsal.

        `assistant`: its id; where the platform stores none, the request that the bot sends for each response.
        """

    async def aclose(self) -> None: ...


class Dialogue(Protocol):
    """A conversation that the worker itself holds with an assistant, for a rehearsal, and deletes."""

    async def say(self, utterance: Utterance) -> RunRef:
        """Give the assistant a message, an image in the form that the platform wants.

        When this returns, the run that answers it has begun. Raises `PlatformError`: the message may have
        arrived or not.
        """

    async def reply(self, ref: RunRef) -> Spoken:
        """What the assistant said in this run, which has ended. Raises `PlatformError`."""

    async def delete(self, run_ids: Iterable[str] = ()) -> Sequence[str]:
        """End what is at work and delete everything that was made. What is left, for people. Never raises.

        `run_ids`: all runs of the conversation, those too that the worker's answers created.
        """


class ReplyLedger(Protocol):
    """What the reply check asks of the store (contract §10)."""

    async def facts(self, conversation_id: str, numbers: Collection[str]) -> Facts:
        """What holds of the conversation. Raises `RequestRefused` (`conversa_desconhecida`)."""

    async def checked_by_bot(self, run_id: str) -> bool:
        """Whether the bot had a reply of this run checked since the run was announced the last time."""

    async def record(
        self, conversation_id: str, run_id: str | None, source: ReplySource, codes: Sequence[Code]
    ) -> None:
        """Store a check, and tell the bot of a suspect reply: one transaction."""


class Attempts(Protocol):
    """One call's permission to send, as the ledger grants it."""

    @property
    def used(self) -> int:
        """Attempts begun so far, over restarts too; counted anew when an operator asks for another try."""

    def alive(self) -> bool:
        """Checked right before the request is written: may this process still send?"""

    async def begin(self) -> None:
        """Commit that an attempt begins. Raises `Withdrawn` when this process may not send (any more)."""

    async def end(self, *, certain: bool, detail: str) -> None:
        """Commit that the attempt begun last has failed; `certain`: surely nothing was opened.

        `detail` is a short code (`http_503`, `timeout`), never text of an answer or an exception.
        """

    async def sent(self) -> Sent:
        """What the attempts so far may have brought about; only once one was begun."""

    async def settled(self) -> None:
        """Wait until the CRM cannot commit any more what was sent. Raises `Withdrawn` when stopping."""

    async def held_by_another(self, protocolo: str) -> bool:
        """Whether another ticket of ours has this protocolo."""

    async def first_try(self) -> CallRecord:
        """The call whose key this one has: itself, or the failed one that it tries again."""


class Tool(Protocol):
    """One function the model may call."""

    #: The function's name; `*` for the tool that answers all other names.
    name: str
    kind: ToolKind
    #: The file in `schemas/`, without `.json`; None if the bot owns the function's definition.
    schema: str | None

    def plan(self, arguments: Personal, conversation: Conversation | None) -> Intent | Rejection:
        """Judge the arguments (contract §6, in its order) and say what is to be done. Pure."""

    async def perform(self, call: CallRecord, attempts: Attempts) -> Outcome:
        """Do what the intent says; `call.body` and `call.idempotency_key` are what goes over the wire."""

    async def recheck(self, call: CallRecord, attempts: Attempts) -> Outcome | None:
        """Ask once more what became of a call that is `unknown` or `no_protocol`; None: still not known."""

    def success(self, call: CallRecord) -> Personal:
        """What the model is told of a call that is `done`."""


Decide = Callable[[Conversation | None], Intent | Rejection]


class RunStore(Protocol):
    """Runs with leases. All times are the database's."""

    async def claim(self, owner: str, limit: int, lease_s: float) -> Sequence[Run]: ...

    async def renew(self, owner: str, run_ids: Iterable[str], lease_s: float) -> Mapping[str, int]:
        """Renew the leases of watched runs: those that are still ours, and how often each was woken."""

    async def record_statuses(self, owner: str, statuses: Mapping[str, str]) -> None:
        """Keep the platform's own word for each of these runs, as far as they are this owner's."""

    async def release(self, owner: str) -> None: ...

    async def close(self, run: Run, state: RunState, reason: str, platform_status: str | None) -> bool:
        """End a run. False: it is not ours any more, or something asked for a look since `run.woken`."""

    async def submitted(self, run: Run, call_ids: Sequence[str], platform_status: str) -> None: ...

    async def begin_submit(self, run: Run) -> bool:
        """Commit that a submit begins; whether one was begun before whose outcome is not known."""

    async def continued(
        self, run: Run, call_ids: Sequence[str], status: str, ref: RunRef, *, owner: str, lease_s: float
    ) -> Run | None:
        """Answers taken, old run ended, the new one watched by us: one transaction. None: no longer ours."""


class Arrivals(Protocol):
    """How discovery finds runs that were not announced. All times are the database's."""

    async def claim_conversations(
        self, limit: int, interval_s: float, window_s: float
    ) -> Sequence[tuple[str, str]]:
        """Take conversations to look for unannounced runs in: (conversation, thread), each for an interval.

        Only those active within the window, and none whose run is watched.
        """

    async def watch_discovered(self, conversation_id: str, ref: RunRef) -> bool:
        """Watch a discovered run unless it is known already; whether it is watched now."""

    async def any_without_thread(self, window_s: float) -> bool:
        """Whether a conversation active within the window has no thread."""

    async def adopt_threads(self, named: Sequence[tuple[str, str]]) -> None:
        """Give known conversations that have none the first thread that names them and has no owner."""


class Ledger(Protocol):
    """The calls: an outcome is stored before anyone sees it, and replayed, never repeated.

    A call that is worked on is held by a lease; when that lapses, the reconciler of some process claims it.
    """

    async def admit(
        self, run: Run, call: ToolCall, decide: Decide, *, kind: ToolKind, owner: str, lease_s: float
    ) -> CallRecord:
        """Record a call, or find it recorded. One transaction, committed before anything is sent.

        `CallRecord.owner` tells whether it is ours to work on. Raises `Isolated` when the conversation's
        thread is another than the run's, `Withdrawn` when the run is another owner's by now.
        """

    async def get(self, call_id: str) -> CallRecord: ...

    async def begin_attempt(
        self, call: CallRecord, attempt: int, *, owner: str, send_window_s: float
    ) -> bool:
        """False: the call moved on without us. Raises `Erased` when nothing is left to be sent."""

    async def end_attempt(self, call_id: str, attempt: int, *, certain: bool, detail: str) -> None: ...

    async def settle(
        self,
        call_id: str,
        outcome: Outcome,
        answer: Personal,
        *,
        success: bool,
        checked: bool = False,
        owner: str | None = None,
    ) -> CallRecord:
        """Record what became of a call, and its answer unless one was given. Never loses a protocolo.

        `checked`: the CRM itself was asked, so that `unknown` can become `failed`. `owner`: who says so.
        Raises `Withdrawn` when who says so lost the call and has no protocolo, and when what was found may be
        another's.
        """

    async def inherit(self, call_id: str) -> CallRecord:
        """A waiting call takes over the key and the bytes of the one it waited for, if that ended unsent.

        If another call has taken them over already, it waits for that one.
        """

    async def answer_at_deadline(self, call_id: str, sent: Personal, unsent: Personal) -> CallRecord:
        """The run cannot wait: `sent` if something may have gone out, else close it with `unsent`."""

    async def claim(self, owner: str, limit: int, lease_s: float) -> Sequence[CallRecord]:
        """Calls whose time has come and that nobody works on, whatever became of their run."""

    async def renew(self, owner: str, call_ids: Iterable[str], lease_s: float) -> None: ...

    async def release(self, owner: str) -> None: ...

    async def check_later(self, call: CallRecord) -> None:
        """The CRM did not know (yet) what became of a call: claim it again later, for a day."""

    async def sent(self, call_id: str) -> Sent: ...

    async def held_by_another(self, call: CallRecord, protocolo: str) -> bool: ...

    async def first_try(self, call: CallRecord) -> CallRecord: ...
