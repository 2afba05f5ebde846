"""The store in memory, for tests of the HTTP API: the rules of contract §3 without a database."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, TypeVar

from fastapi import FastAPI

from tests.asgi import services
from worker.errors import RequestRefused
from worker.kpis import Kpis
from worker.model import CallRecord, CallState, RunState
from worker.personal import Personal
from worker.views import (
    AttemptView,
    Backlog,
    CallFilter,
    CallView,
    ConversationView,
    CrmOutcome,
    Cursor,
    Erasure,
    HandoffState,
    HandoffView,
    Hour,
    RunView,
    Waiting,
)
from worker.web.app import create_api

_View = TypeVar("_View")

EPOCH = 1_761_590_040.25
"""2025-10-27T15:34:00.25-03:00, the time of everything here unless told otherwise."""


def a_call(call_id: str = "tc_1", **changes: Any) -> CallView:
    call = CallView(
        call_id=call_id,
        platform_call_id="call_abc",
        run_id="run_1",
        conversation_id="conv-1",
        tool="abrir_ticket_crm",
        state=CallState.DONE,
        error=None,
        protocolo="2510271534789012",
        setor="FINANCEIRO",
        motivo="INFORMAR PAGAMENTO",
        departamento=None,
        attempts=(AttemptView(1, EPOCH + 1, EPOCH + 2, "ok", None),),
        equal_to=None,
        received_at=EPOCH,
        answered_at=EPOCH + 2,
        finished_at=EPOCH + 2,
        submitted_at=EPOCH + 3,
    )
    return replace(call, **changes)


def a_handoff(handoff_id: str = "ho_1", **changes: Any) -> HandoffView:
    handoff = HandoffView(
        handoff_id=handoff_id,
        conversation_id="conv-1",
        call_id="tc_2",
        departamento="financeiro",
        state=HandoffState.REQUESTED,
        requested_at=EPOCH,
        accepted_at=None,
        closed_at=None,
        waiting_s=42.5,
        motivo=Personal("Comprovante de Maria"),
    )
    return replace(handoff, **changes)


@dataclass
class FakeRecords:
    """`hold` delays every read of a conversation; `failure` is raised instead of an answer."""

    conversations: dict[str, ConversationView] = field(default_factory=dict)
    runs: dict[str, RunView] = field(default_factory=dict)
    all_calls: list[CallView] = field(default_factory=list)
    all_handoffs: list[HandoffView] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)
    asked: list[Mapping[str, object]] = field(default_factory=list)
    is_ready: bool = True
    figures: Kpis = field(default_factory=Kpis)
    what_waits: Waiting = field(default_factory=Waiting)
    failure: Exception | None = None
    hold: Callable[[], Awaitable[None]] | None = None

    async def put_conversation(
        self, conversation_id: str, changes: Mapping[str, object]
    ) -> tuple[ConversationView, bool]:
        self.asked.append(changes)
        thread = changes.get("thread_id")
        if thread is not None and any(
            known.thread_id == thread and known.conversation_id != conversation_id
            for known in self.conversations.values()
        ):
            raise RequestRefused("thread_em_uso")
        new = conversation_id not in self.conversations
        before = self.conversations.get(conversation_id) or ConversationView(
            conversation_id, None, None, None, None, None, None, EPOCH, EPOCH
        )
        renamed: dict[str, Any] = {
            "document" if name == "client_document" else name: value for name, value in changes.items()
        }
        if "attachment_url" in renamed:
            renamed["attachment_at"] = renamed.get("attachment_at") or EPOCH
        self.conversations[conversation_id] = replace(before, **renamed)
        return self.conversations[conversation_id], new

    async def conversation(self, conversation_id: str, *, reader: str = "") -> ConversationView:
        if self.failure is not None:
            raise self.failure
        if self.hold is not None:
            await self.hold()
        if conversation_id not in self.conversations:
            raise RequestRefused("conversa_desconhecida")
        return self.conversations[conversation_id]

    async def register_run(
        self, conversation_id: str, run_id: str, thread_id: str | None
    ) -> tuple[RunView, bool]:
        thread_id = thread_id or (await self.conversation(conversation_id)).thread_id
        if thread_id is None:
            raise RequestRefused("thread_ausente")
        known = self.runs.get(run_id)
        if known and known.conversation_id != conversation_id:
            raise RequestRefused("execucao_de_outra_conversa")
        if known and known.thread_id != thread_id:
            raise RequestRefused("thread_diferente")
        if known and known.continues_as is not None:
            _, new = await self.register_run(conversation_id, known.continues_as, thread_id)
            return known, new
        watching = RunView(run_id, conversation_id, thread_id, RunState.WATCHING, None, None, None, ())
        self.runs[run_id] = watching
        return watching, known is None or known.state is not RunState.WATCHING

    async def run(self, run_id: str) -> RunView:
        return _found(self.runs.get(run_id))

    async def calls(
        self,
        which: CallFilter = CallFilter(),  # noqa: B008  # frozen
        *,
        limit: int = 50,
        cursor: Cursor | None = None,
    ) -> tuple[Sequence[CallView], Cursor | None]:
        state, since, conversation_id = which.state, which.since, which.conversation_id
        self.asked.append({"since": since, "limit": limit, "cursor": cursor})
        matching = [
            call
            for call in self.all_calls
            if (state is None or call.state is state)
            and (since is None or call.received_at >= since)
            and (conversation_id is None or call.conversation_id == conversation_id)
        ]
        return _page(matching, lambda call: (call.received_at, call.call_id), limit, cursor)

    async def call(self, call_id: str) -> CallView:
        return _found(next((call for call in self.all_calls if call.call_id == call_id), None))

    async def handoffs(
        self, *, state: HandoffState | None = None, limit: int = 50, cursor: Cursor | None = None
    ) -> tuple[Sequence[HandoffView], Cursor | None]:
        matching = [
            replace(handoff, motivo=None)
            for handoff in self.all_handoffs
            if state is None or handoff.state is state
        ]
        return _page(matching, lambda handoff: (handoff.requested_at, handoff.handoff_id), limit, cursor)

    async def handoff(self, handoff_id: str, *, reader: str) -> HandoffView:
        self.readers.append(reader)
        return _found(next((h for h in self.all_handoffs if h.handoff_id == handoff_id), None))

    async def kpis(self, since: float, until: float | None) -> Kpis:
        self.asked.append({"since": since, "until": until})
        return self.figures

    async def waiting(self) -> Waiting:
        return self.what_waits

    async def ready(self) -> bool:
        if self.failure is not None:
            raise self.failure
        return self.is_ready


@dataclass
class FakeOperators:
    """Does what it is asked, unless `refusal` names a reason not to, and `other` the call in the way."""

    records: FakeRecords
    refusal: str | None = None
    other: str | None = None

    async def retryable(self, call_id: str) -> CallRecord:
        raise NotImplementedError

    async def retry(self, call_id: str) -> None:
        await self._change(call_id, state=CallState.RECEIVED, error=None)

    async def resolve(self, call_id: str, protocolo: str) -> None:
        await self._change(call_id, state=CallState.DONE, error=None, protocolo=protocolo)

    async def _change(self, call_id: str, **changes: Any) -> None:
        call = await self.records.call(call_id)
        if self.refusal:
            raise RequestRefused(self.refusal, self.other)
        self.records.all_calls.remove(call)
        self.records.all_calls.append(replace(call, **changes))


@dataclass
class FakeHandoffs:
    """Does what it is asked, unless `refusal` names a reason not to."""

    records: FakeRecords
    refusal: str | None = None

    async def accept(self, handoff_id: str) -> HandoffView:
        return self._change(handoff_id, state=HandoffState.ACCEPTED, accepted_at=EPOCH + 60)

    async def give_back(self, handoff_id: str) -> HandoffView:
        return self._change(handoff_id, state=HandoffState.RETURNED, returned_at=EPOCH + 60)

    async def close(self, handoff_id: str) -> HandoffView:
        return self._change(handoff_id, state=HandoffState.CLOSED, closed_at=EPOCH + 60)

    def _change(self, handoff_id: str, **changes: Any) -> HandoffView:
        handoffs = self.records.all_handoffs
        handoff = _found(next((each for each in handoffs if each.handoff_id == handoff_id), None))
        if self.refusal:
            raise RequestRefused(self.refusal)
        handoffs.remove(handoff)
        handoffs.append(replace(handoff, **changes))
        return handoffs[-1]


@dataclass
class FakeBoard:
    """Shows what it is given; `asked` is how often the hours were counted."""

    all_hours: list[Hour] = field(default_factory=list)
    waiting: Backlog = field(default_factory=Backlog)
    asked: int = 0

    async def hours(self, since: float) -> Sequence[Hour]:
        self.asked += 1
        return [hour for hour in self.all_hours if hour.begin >= since]

    async def backlog(self, limit: int) -> Backlog:
        return self.waiting


class FakeDaemons:
    """No ticket was sent."""

    async def crm_outcomes(self, limit: int) -> Sequence[CrmOutcome]:
        return []


@dataclass
class FakeErasures:
    """Forgets a conversation, and says what it is told to say of that."""

    records: FakeRecords
    erasure: Erasure = field(default_factory=Erasure)
    asked_by: list[str] = field(default_factory=list)

    async def erase_conversation(self, conversation_id: str, *, by: str) -> Erasure:
        await self.records.conversation(conversation_id)
        del self.records.conversations[conversation_id]
        self.asked_by.append(by)
        return self.erasure

    async def process_next(self) -> bool:
        raise NotImplementedError

    async def outcome(self, erasure_id: str) -> Erasure | None:
        raise NotImplementedError


def _found(view: _View | None) -> _View:
    if view is None:
        raise RequestRefused("nao_encontrado")
    return view


def _page(
    views: Sequence[_View], place: Callable[[_View], Cursor], limit: int, cursor: Cursor | None
) -> tuple[Sequence[_View], Cursor | None]:
    newest = sorted(views, key=place, reverse=True)
    left = [view for view in newest if cursor is None or place(view) < cursor]
    return left[:limit], place(left[limit - 1]) if len(left) > limit else None


_PARTS = ("operators", "handoffs", "board", "erasures")


def an_api(records: FakeRecords, *, token: str | None = None, **changes: Any) -> FastAPI:
    """The API over `records`: without a token, on the platform `assistants`, its clock at `EPOCH`."""
    parts: dict[str, Any] = {
        "operators": FakeOperators(records),
        "handoffs": FakeHandoffs(records),
        "board": FakeBoard(),
        "erasures": FakeErasures(records),
    }
    parts |= {name: changes.pop(name) for name in _PARTS if name in changes}
    parts |= {"daemons": FakeDaemons()}
    store = SimpleNamespace(records=records, **parts)
    return create_api(services(store, {"now": lambda: EPOCH, **changes}), token=token)
