"""Arbitrary JSON, of the right and of the wrong shape, where platform, CRM, lookup and bot answer.

The daemon's own parts run against one server that answers anything about one customer, and the truth about
another: the daemon lives, every call with an id to send back is answered, and the other customer's ticket is
opened meanwhile. `FOREIGN_EXAMPLES` makes the search longer.
"""

import asyncio
import contextlib
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.raw_server import Exchange, RawServer, answer
from worker import platforms, wiring
from worker.catalog import Catalog
from worker.engine.lease import Lease
from worker.personal import Personal
from worker.settings import Settings
from worker.store.store import Store
from worker.times import SystemClock

EXAMPLES = int(os.environ.get("FOREIGN_EXAMPLES", "25"))
GOOD, ODD = "11144477735", "52998224725"
OURS = ["abrir_ticket_crm", "transferir_para_humano"]

pytestmark = pytest.mark.untraced

Json = Any

# ------------------------------------------------------------------------------------------- what is answered

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-10, 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(
        ["function", "function_call", "completed", "requires_action", ODD, "\x00", "../x", "a\nb"]
    )
)
KEYS = st.sampled_from(
    [
        "id",
        "type",
        "status",
        "function",
        "name",
        "arguments",
        "call_id",
        "output",
        "data",
        "protocolo",
        "setor",
    ]
) | st.text(max_size=5)
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
DEEP = st.integers(200, 3000).map(lambda depth: b'{"a":' * depth + b"1" + b"}" * depth)

ARGUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "resumo": st.just("Cliente sem acesso") | SCALARS,
        "setor": st.sampled_from(["SUPORTE", "FINANCEIRO", "suporte"]) | SCALARS,
        "motivo": st.sampled_from(["INFORMAR PAGAMENTO", "VISITA TECNICA"]) | SCALARS,
        "departamento": st.just("suporte") | SCALARS,
    },
)


@dataclass(frozen=True)
class OddCall:
    """One function call as a platform may show it."""

    call_id: Json
    name: Json
    arguments: Json

    @property
    def answerable(self) -> bool:
        text = self.call_id
        return isinstance(text, str) and not any(c == "\x00" or "\ud800" <= c <= "\udfff" for c in text)


CALLS = st.lists(
    st.builds(
        OddCall,
        call_id=st.text(min_size=1, max_size=12)
        | st.sampled_from(["call_0", "", "a b", "c" * 300])
        | SCALARS,
        name=st.sampled_from([*OURS, "functions.abrir_ticket_crm", "consultar_saldo"]) | SCALARS,
        arguments=ARGUMENTS.map(json.dumps) | ARGUMENTS | JSON,
    ),
    min_size=1,
    max_size=4,
)


class PlatformWire(Protocol):
    """How one platform shows a run, and where its answers go."""

    name: str

    def run(self, run_id: str, calls: list[OddCall]) -> Json: ...

    def ended(self, run_id: str) -> Json: ...

    def answered(self, exchange: Exchange) -> list[tuple[str, str]]:
        """Call ids and outputs of a submit; nothing for another request."""

    def accepted(self, run_id: str) -> bytes: ...


class AssistantsWire:
    name = "assistants"

    def run(self, run_id: str, calls: list[OddCall]) -> Json:
        listed = [
            {"id": c.call_id, "type": "function", "function": {"name": c.name, "arguments": c.arguments}}
            for c in calls
        ]
        action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": listed}}
        return {
            "id": run_id,
            "thread_id": f"t_{run_id}",
            "status": "requires_action",
            "required_action": action,
        }

    def ended(self, run_id: str) -> Json:
        return {"id": run_id, "thread_id": f"t_{run_id}", "status": "completed"}

    def answered(self, exchange: Exchange) -> list[tuple[str, str]]:
        if not exchange.path.endswith("/submit_tool_outputs"):
            return []
        return [(each["tool_call_id"], each["output"]) for each in json.loads(exchange.body)["tool_outputs"]]

    def accepted(self, run_id: str) -> bytes:
        return answer(200, b"{}", {})


class AgentsWire:
    name = "agents"

    def run(self, run_id: str, calls: list[OddCall]) -> Json:
        listed = [
            {
                "type": "function_call",
                "turn_id": "turn_1",
                "call_id": c.call_id,
                "name": c.name,
                "arguments": c.arguments,
            }
            for c in calls
        ]
        return {"id": run_id, "status": "requires_action", "required_actions": listed}

    def ended(self, run_id: str) -> Json:
        return {"id": run_id, "status": "failed"}

    def answered(self, exchange: Exchange) -> list[tuple[str, str]]:
        if not exchange.path.endswith("/events"):
            return []
        events = json.loads(exchange.body)["events"]
        return [(each["call_id"], each.get("output") or each.get("error")) for each in events]

    def accepted(self, run_id: str) -> bytes:
        return answer(202, b"{}", {})


class ResponsesWire:
    name = "responses"

    def run(self, run_id: str, calls: list[OddCall]) -> Json:
        items = [
            {
                "type": "function_call",
                "status": "completed",
                "call_id": c.call_id,
                "name": c.name,
                "arguments": c.arguments,
            }
            for c in calls
        ]
        return {"id": run_id, "status": "completed", "model": "m", "output": items}

    def ended(self, run_id: str) -> Json:
        return {"id": run_id, "status": "completed", "output": []}

    def answered(self, exchange: Exchange) -> list[tuple[str, str]]:
        if exchange.method != "POST" or not exchange.path.endswith("/responses"):
            return []
        return [(each["call_id"], each["output"]) for each in json.loads(exchange.body)["input"]]

    def accepted(self, run_id: str) -> bytes:
        return answer(200, json.dumps({"id": f"{run_id}_next"}).encode(), {})


WIRES: list[PlatformWire] = [AssistantsWire(), AgentsWire(), ResponsesWire()]


@dataclass(frozen=True)
class Look:
    """What the platform shows of the odd run: whole, with one value replaced, or anything."""

    kind: str
    calls: list[OddCall]
    key: str
    value: Json
    anything: bytes


@dataclass
class Example:
    """What is answered about the odd customer."""

    look: bytes
    expected: set[str]
    crm: tuple[int, bytes]
    lookup: tuple[int, bytes]
    bot: tuple[int, bytes]


@dataclass
class World:
    """All servers in one, and what they were sent."""

    wire: PlatformWire
    number: int = 0
    example: Example | None = None
    answered: dict[str, str] = field(default_factory=dict)
    good_tickets: int = 0
    statistics: Counter[str] = field(default_factory=Counter)

    @property
    def good(self) -> str:
        return f"good_{self.number}"

    @property
    def odd(self) -> str:
        return f"odd_{self.number}"

    async def act(self, exchange: Exchange) -> bool:
        await exchange.write(self._answer(exchange))
        return True

    def _answer(self, exchange: Exchange) -> bytes:
        assert self.example
        for path in ("crm", "lookup", "bot"):
            if exchange.path.endswith(f"/{path}"):
                return self._of_customer(path, exchange)
        if submitted := self.wire.answered(exchange):
            return self._submitted(submitted)
        if self.good in exchange.path:
            call = OddCall(self.good, OURS[0], json.dumps(TICKET))
            over = self.good in self.answered
            shown = self.wire.ended(self.good) if over else self.wire.run(self.good, [call])
            return answer(200, json.dumps(shown).encode(), {})
        if self.odd in exchange.path and not exchange.path.endswith(f"{self.odd}_next"):
            return answer(200, self.example.look, {})
        return answer(200, json.dumps(self.wire.ended(exchange.path.split("/")[-1])).encode(), {})

    def _of_customer(self, path: str, exchange: Exchange) -> bytes:
        assert self.example
        if GOOD not in exchange.body.decode():
            status, body = getattr(self.example, path)
            return answer(status, body, {})
        if path != "crm":
            return answer(200, b"[]", {})
        self.good_tickets += 1
        protocolo = f"2510271534{self.number:06d}"
        return answer(200, json.dumps([{"data": [{"resposta": [{"protocolo": protocolo}]}]}]).encode(), {})

    def _submitted(self, submitted: list[tuple[str, str]]) -> bytes:
        self.answered |= dict(submitted)
        owner = self.good if any(call_id == self.good for call_id, _ in submitted) else self.odd
        return self.wire.accepted(owner)


TICKET = {"resumo": "Cliente pagou", "setor": "FINANCEIRO", "motivo": "INFORMAR PAGAMENTO"}

BYTES = JSON.map(lambda value: json.dumps(value).encode()) | DEEP | st.binary(max_size=20)
STATUSES = st.sampled_from([200, 200, 200, 200, 201, 204, 301, 404, 429, 500])
NEAR_CRM = st.builds(lambda value: [{"data": [{"resposta": [{"protocolo": value}]}]}], SCALARS)
NEAR_ROW = st.fixed_dictionaries(
    {"setor": SCALARS, "motivo": SCALARS, "data_abertura": SCALARS, "protocolo": SCALARS}
)


@st.composite
def examples(draw: st.DrawFn, wire: PlatformWire) -> tuple[Example, Look]:
    """An odd look, and what CRM, lookup and bot answer."""
    kinds = st.sampled_from(["whole", "whole", "replaced", "anything"])
    look = draw(st.builds(Look, kinds, CALLS, KEYS, JSON, BYTES))
    crm = draw(NEAR_CRM.map(lambda value: json.dumps(value).encode()) | BYTES)
    rows = st.lists(NEAR_ROW, max_size=3).map(lambda value: json.dumps(value).encode())
    replies = [
        (draw(STATUSES), crm),
        (draw(STATUSES), draw(rows | BYTES)),
        (draw(STATUSES), draw(BYTES)),
    ]
    answerable = {call.call_id for call in look.calls if call.answerable} if look.kind == "whole" else set()
    return Example(b"", answerable, *replies), look


class Daemon:
    """The parts of one daemon, composed as `worker.daemon` does, beside a world."""

    def __init__(self, world: World, store: Store, serving: asyncio.Task[None], wake: Callable[[str], None]):
        self.world = world
        self.store = store
        self.serving = serving
        self.wake = wake

    async def announce(self, run_id: str, document: str) -> None:
        sessions = self.world.wire.name == "agents"
        thread = run_id if sessions else f"t_{run_id}"
        if self.world.wire.name == "responses":
            thread = ""
        changes = {"client_document": Personal(document)} | ({"thread_id": thread} if thread else {})
        await self.store.records.put_conversation(f"c_{run_id}", changes)
        await self.store.records.register_run(f"c_{run_id}", run_id, None)
        self.wake(run_id)

    async def play(self, example: Example, raw: Look) -> None:
        world = self.world
        world.number += 1
        world.answered.clear()
        world.good_tickets = 0
        example.look = _look(world, raw)
        world.example = example
        await self.announce(world.odd, ODD)
        await self.announce(world.good, GOOD)
        async with asyncio.timeout(15):
            while not (world.good in world.answered and example.expected <= world.answered.keys()):
                assert not self.serving.done(), self.serving
                await asyncio.sleep(0.005)
        assert json.loads(world.answered[world.good])["success"] is True
        assert world.good_tickets == 1
        world.statistics[raw.kind] += 1
        world.statistics["answered"] += len(world.answered)


def _look(world: World, raw: Look) -> bytes:
    if raw.kind == "anything":
        return raw.anything
    shown = world.wire.run(world.odd, raw.calls)
    if raw.kind == "replaced":
        name = raw.key if raw.key in shown else list(shown)[len(raw.key) % len(shown)]
        shown[name] = raw.value
    return json.dumps(shown).encode()


@pytest.fixture(params=WIRES, ids=lambda wire: wire.name)
async def daemon(
    request: pytest.FixtureRequest, make_settings: Callable[..., Settings]
) -> AsyncIterator[Daemon]:
    world = World(request.param)
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(RawServer(default=world.act).running())
        base = server.url.removesuffix(server.path)
        configured = make_settings(
            PLATFORM=world.wire.name,
            OPENAI_BASE_URL=f"{base}/v1",
            CRM_WEBHOOK_URL=f"{base}/crm",
            CRM_LOOKUP_URL=f"{base}/lookup",
            TOOL_FORWARD_URL=f"{base}/bot",
            BOT_WEBHOOK_SECRET="whsec_" + "c2VncmVkb3NlZ3JlZG9zZWdyZWRv",
            CRM_TIMEOUT_S=1.0,
            CRM_SETTLE_S=0.0,
            CRM_BACKOFF_BASE_S=0.001,
            CRM_BACKOFF_MAX_S=0.001,
            CRM_BREAKER_FAILURES=100_000,
            POLL_MIN_S=0.01,
            POLL_MAX_S=0.05,
            POLL_RATE=10_000,
            SHUTDOWN_GRACE_S=0,
        )
        platform = platforms.connect(configured)
        stack.push_async_callback(platform.aclose)
        store = await Store.open(configured, platform.name, owner=True, thread=platform.traits.thread)
        stack.push_async_callback(store.close)
        clock = SystemClock()
        tools = wiring.build_tools(configured, Catalog.load(), clock, stack)
        worker = wiring.build_worker(configured, platform, store, tools, lease=Lease(), clock=clock)
        serving = asyncio.create_task(worker.run())
        yield Daemon(world, store, serving, worker.wake)
        worker.stop()
        await serving


async def test_no_answer_from_outside_ends_the_daemon_or_keeps_another_customer_waiting(
    daemon: Daemon,
) -> None:
    """Each example is played by the running loop; hypothesis itself is not asynchronous."""
    loop = asyncio.get_running_loop()

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
        # What fails does so by waiting, so each step towards a smaller example would take as long.
        phases=[Phase.generate],
        report_multiple_bugs=False,
    )
    @given(examples(daemon.world.wire))
    def search(example: tuple[Example, Look]) -> None:
        asyncio.run_coroutine_threadsafe(daemon.play(*example), loop).result(timeout=60)

    await asyncio.to_thread(search)
    statistics = daemon.world.statistics
    print(f"\n{daemon.world.wire.name}: {dict(statistics)}")  # noqa: T201  # shown with -s
    assert statistics["whole"] > 0
