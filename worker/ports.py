"""The interfaces that the engine uses: platform, tool, clock and store."""

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
        """Poll the run. A run of another thread is LOST with `isolamento`. Raises `RunGone` on 404."""

    async def submit(self, ref: RunRef, answers: Sequence[Answer], *, again: bool = False) -> RunRef | None:
        """Submit the answers of one poll, once and without retries.

        Returns when the platform has accepted them: the new run where the conversation continues under a new
        id, else None. After an error the answers may have arrived; the next poll shows it. `again`: a submit
        of this run was begun before and its outcome is unknown (only with `Traits.new_run_per_round`).
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
        """The assistant's reply in this run, which has ended: one read. Raises `PlatformError`."""

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
        """The assistant's reply in this run, which has ended. Raises `PlatformError`."""

    async def delete(self, run_ids: Iterable[str] = ()) -> Sequence[str]:
        """End runs at work and delete everything that was created. Never raises.

        Returns what could not be deleted, in words for people.

        `run_ids`: all runs of the conversation, those too that the worker's answers created.
        """


class ReplyLedger(Protocol):
    """What the reply check asks of the store (contract §10)."""

    async def facts(self, conversation_id: str, numbers: Collection[str]) -> Facts:
        """The ledger's facts about the conversation. Raises `RequestRefused` (`conversa_desconhecida`)."""

    async def checked_by_bot(self, run_id: str) -> bool:
        """Whether the bot had a reply of this run checked since the run's latest announcement."""

    async def record(
        self, conversation_id: str, run_id: str | None, source: ReplySource, codes: Sequence[Code]
    ) -> None:
        """Store a check and, for a suspect reply, an event for the bot: one transaction."""


class Attempts(Protocol):
    """One call's permission to send, as the ledger grants it."""

    @property
    def used(self) -> int:
        """Attempts begun so far, over restarts too. A retry by an operator starts the count at 0."""

    def alive(self) -> bool:
        """Checked right before the request is written: may this process still send?"""

    async def begin(self) -> None:
        """Commit that an attempt begins. Raises `Withdrawn` when this process may not send."""

    async def end(self, *, certain: bool, detail: str) -> None:
        """Commit that the attempt begun last has failed; `certain`: surely nothing was opened.

        `detail` is a short code (`http_503`, `timeout`), never text of an answer or an exception.
        """

    async def sent(self) -> Sent:
        """When the attempts so far were sent. Call it only after the first was begun."""

    async def settled(self) -> None:
        """Wait until the CRM can no longer commit what was sent. Raises `Withdrawn` when stopping."""

    async def held_by_another(self, protocolo: str) -> bool:
        """Whether another call of this ledger has this protocolo."""

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
        """Check the arguments in the order of contract §6 and decide what to do. Pure."""

    async def perform(self, call: CallRecord, attempts: Attempts) -> Outcome:
        """Carry out the intent: send `call.body` under `call.idempotency_key`."""

    async def recheck(self, call: CallRecord, attempts: Attempts) -> Outcome | None:
        """Ask again for the outcome of an `unknown` or `no_protocol` call; None if it is still unknown."""

    def success(self, call: CallRecord) -> Personal:
        """The answer to the model for a call that is `done`."""


Decide = Callable[[Conversation | None], Intent | Rejection]


class RunStore(Protocol):
    """Runs with leases. All times are the database's."""

    async def claim(self, owner: str, limit: int) -> Sequence[Run]: ...

    async def renew(self, owner: str, run_ids: Iterable[str]) -> Mapping[str, int]:
        """Renew the leases of watched runs. Returns the wake-ups of each run that this owner still holds."""

    async def record_statuses(self, owner: str, statuses: Mapping[str, str]) -> None:
        """Keep the platform's own word for each of these runs, as far as they are this owner's."""

    async def release(self, owner: str) -> None: ...

    async def close(self, run: Run, state: RunState, reason: str, platform_status: str | None) -> bool:
        """End a run. False if another process has it, or if a wake-up came after `run.wake_count`."""

    async def submitted(self, run: Run, call_ids: Sequence[str], platform_status: str) -> None: ...

    async def begin_submit(self, run: Run) -> bool:
        """Commit that a submit begins. True if an earlier one was begun and its outcome is unknown."""

    async def continued(
        self, run: Run, call_ids: Sequence[str], status: str, ref: RunRef, *, owner: str
    ) -> Run | None:
        """Record the accepted answers, end the old run and watch the new one: one transaction.

        None if this owner no longer holds the run.
        """


class Arrivals(Protocol):
    """How discovery finds runs that were not announced. All times are the database's."""

    async def claim_conversations(
        self, limit: int, interval_s: float, window_s: float
    ) -> Sequence[tuple[str, str]]:
        """Take conversations to look for unannounced runs in: (conversation, thread), each for an interval.

        Only those active within the window, and none whose run is watched.
        """

    async def watch_discovered(self, conversation_id: str, ref: RunRef) -> bool:
        """Watch a discovered run unless the store has it already. True if it is watched now."""

    async def any_without_thread(self, window_s: float) -> bool:
        """Whether a conversation active within the window has no thread."""

    async def adopt_threads(self, named: Sequence[tuple[str, str]]) -> None:
        """Give known conversations that have none the first thread that names them and has no owner."""


class Ledger(Protocol):
    """The record of all calls. An outcome is stored before it is shown, and replayed instead of repeated.

    The process that works on a call holds a lease on it. When the lease lapses, the reconciler of any process
    claims the call.
    """

    async def admit(
        self, run: Run, call: ToolCall, decide: Decide, *, kind: ToolKind, owner: str
    ) -> CallRecord:
        """Record a call, or find it recorded. One transaction, committed before anything is sent.

        `CallRecord.owner` names the process that may work on it. Raises `Isolated` when the conversation's
        thread differs from the run's, and `Withdrawn` when the run has another owner.
        """

    async def get(self, call_id: str) -> CallRecord: ...

    async def begin_attempt(
        self, call: CallRecord, attempt: int, *, owner: str, send_window_s: float
    ) -> bool:
        """Commit that an attempt begins. False if another process went on with the call.

        Raises `Erased` when the body was erased.
        """

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
        """Record the outcome of a call, and its answer if it has none yet. Never loses a protocolo.

        `checked`: the outcome comes from a lookup at the CRM, so `unknown` may become `failed`. `owner`: the
        process that reports it. Raises `Withdrawn` when that process lost the call and has no protocolo, and
        when the protocolo of a lookup may belong to another call.
        """

    async def inherit(self, call_id: str) -> CallRecord:
        """Let a waiting call take over the key and body of the call it waited for, if that one was not sent.

        If another call has taken them over already, this one waits for that call.
        """

    async def answer_at_deadline(self, call_id: str, sent: Personal, unsent: Personal) -> CallRecord:
        """Answer a call at its deadline: with `sent` if a request may be out, else close it with `unsent`."""

    async def claim(self, owner: str, limit: int) -> Sequence[CallRecord]:
        """Claim calls that are due and that no process works on, even if their run has ended."""

    async def renew(self, owner: str, call_ids: Iterable[str]) -> None: ...

    async def release(self, owner: str) -> None: ...

    async def check_later(self, call: CallRecord) -> None:
        """Make a call claimable again later, for a day: the CRM did not know its outcome."""

    async def sent(self, call_id: str) -> Sent: ...

    async def held_by_another(self, call: CallRecord, protocolo: str) -> bool: ...

    async def first_try(self, call: CallRecord) -> CallRecord: ...
