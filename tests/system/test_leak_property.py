"""Any personal value, through any path, appears in no sink (contract §9): hypothesis draws both.

The daemon runs inside this process, whole: loop, store, API on a real port, simulators around it. What
`test_no_leak` does once with two processes and marked values, this does with ever new customers.
"""

import asyncio
import contextlib
import io
import json
import logging
import os
import re
import sqlite3
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from rich.console import Console

from tests.raw_server import Act, Exchange, RawServer, answer, reset, say
from tests.system.customers import CUSTOMERS, Customer, jsonable
from tests.system.daemon import BASIC, QUICK, free_port
from tests.system.personal_values import SECRETS, leaks
from tests.system.sabotaged import SETS_OFF, sabotage
from worker import daemon, logs, metrics
from worker.cli import calls as listings
from worker.cli import handoffs, replies
from worker.errors import WorkerError
from worker.logs import foreign, sinks
from worker.personal import Personal
from worker.settings import Settings
from worker.simulator.assistants.app import AssistantsSimulator
from worker.simulator.assistants.registry import ASSISTANTS
from worker.simulator.faults import Fault
from worker.simulator.script import Call, CustomerMessage, FunctionCalls, Move, Reply, Rounds, call
from worker.simulator.server import serve
from worker.tools.abrir_ticket_crm import AbrirTicketCrm
from worker.web import problems

pytestmark = pytest.mark.untraced

OPENED = b'[{"data": [{"resposta": [{"protocolo": "2510271534789012"}]}]}]'
LOUD = ("httpx", "httpcore", "openai", "aiohttp", "sqlalchemy", "asyncio", "uvicorn", "backoff", "aiosqlite")

# ------------------------------------------------------------------------------------------------ the paths


def lie(customer: Customer) -> str:
    """A reply with every kind of finding, and every personal value, within and beside them."""
    call_as_text = f'abrir_ticket_crm({{"resumo": "{customer.said}"}})'
    return (
        f"Abri seu chamado, {customer.name}: {customer.said}\n"
        f"Protocolo {customer.document}9, protocolo {customer.phone}1.\n"
        f"Te transferi pro suporte com o telefone {customer.phone}.\n{call_as_text}"
    )


def echo(status: int, **headers: str) -> Act:
    """An answer that gives back what was sent, in its headers too."""

    async def act(exchange: Exchange) -> bool:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        await exchange.write(answer(status, exchange.body, named))
        return True

    return act


async def not_http(exchange: Exchange) -> bool:
    return await say(exchange.body)(exchange)


async def broken_off(exchange: Exchange) -> bool:
    return await say(b"HTTP/1.1 200 OK\r\nContent-Length: 500000\r\n\r\n" + exchange.body)(exchange)


async def opened(exchange: Exchange) -> bool:
    await exchange.write(answer(200, OPENED))
    return True


CRM: dict[str, tuple[Act, str | None]] = {
    "aberto": (opened, None),
    **{str(status): (echo(status), "crm_indisponivel") for status in (408, 425, 429, 500, 503)},
    **{str(status): (echo(status), "crm_recusou") for status in (400, 401, 404, 409, 422)},
    "302": (echo(302, Location="http://127.0.0.1:9/x"), "crm_recusou"),
    "200 outro": (echo(200), "sem_protocolo"),
    "partiu": (broken_off, "crm_indisponivel"),
    "outra língua": (not_http, "crm_indisponivel"),
    "derrubou": (reset(), "crm_indisponivel"),
}


def ticket(customer: Customer, **changes: str) -> Call:
    said = "".join(char for char in customer.said if char != "\0")
    valid = {"resumo": said, "setor": "FINANCEIRO", "motivo": "INFORMAR PAGAMENTO"}
    return call("abrir_ticket_crm", **(valid | changes))


def at_crm(name: str) -> Callable[[Customer], Call]:
    return lambda customer: ticket(customer, resumo=f"{customer.said} caso={name};".replace("\0", ""))


def raw(write: Callable[[Customer], str]) -> Callable[[Customer], Call]:
    return lambda customer: Call("abrir_ticket_crm", write(customer))


def handoff(departamento: str) -> Callable[[Customer], Call]:
    return lambda c: call(
        "transferir_para_humano",
        departamento=departamento or c.said,
        motivo=c.said.replace("\0", "").strip(),
    )


CALLS: dict[str, tuple[Callable[[Customer], Call], str | None]] = {
    **{f"crm {name}": (at_crm(name), code) for name, (_, code) in CRM.items()},
    "transferir": (handoff("financeiro"), None),
    "departamento": (handoff(""), "departamento_invalido"),
    "setor": (lambda c: ticket(c, setor=c.name), "setor_invalido"),
    "motivo": (lambda c: ticket(c, motivo=f"{c.name} {c.document}"), "motivo_incompativel"),
    "faltando": (raw(lambda c: json.dumps({c.said: c.said, "setor": "SUPORTE"})), "parametros_faltando"),
    "cpf de outro": (lambda c: ticket(c, documento=c.document, client_document=c.document), None),
    "json quebrado": (raw(lambda c: f'{{"resumo": "{c.said}'), "argumentos_invalidos"),
    "lista": (raw(lambda c: json.dumps([c.said])), "argumentos_invalidos"),
    "não é texto": (raw(lambda c: json.dumps({"resumo": {c.name: c.phone}})), "argumentos_invalidos"),
    "longo": (lambda c: ticket(c, resumo=c.said * 200), "argumentos_invalidos"),
    "NUL": (lambda c: ticket(c, resumo=c.said + "\0"), "argumentos_invalidos"),
    "meio caractere": (raw(lambda c: json.dumps({"resumo": c.said + "\ud83d"})), "argumentos_invalidos"),
    "fundo": (raw(lambda c: "[" * 50_000 + c.said), "argumentos_invalidos"),
    "função do bot": (lambda c: call("segunda_via", cliente=c.said), None),
    "função com nome": (lambda c: call(f"ver {c.name}", cliente=c.said), "ferramenta_desconhecida"),
    "defeito ao avaliar": (
        lambda c: ticket(c, setor=f"{SETS_OFF} {c.said}".replace("\0", "")),
        "erro_interno",
    ),
    "defeito ao executar": (at_crm(SETS_OFF), "erro_interno"),
    "sem documento": (ticket, "documento_ausente"),
}
"""What the model asks for, and what it is told."""

Ask_ = Callable[[Customer], tuple[str, str, dict[str, Any]]]
_ONE, _RUNS = "/v1/conversations/api", "/v1/runs"


def put(**body: Any) -> dict[str, Any]:
    return {"json": body}


REQUESTS: dict[str, Ask_] = {
    "JSON quebrado": lambda c: (
        "PUT",
        _ONE,
        {"content": f'{{"contact": "{c.said}'.encode(), "headers": JSON},
    ),
    "não é JSON": lambda c: (
        "PUT",
        _ONE,
        {"content": c.said.encode(), "headers": {"Content-Type": "text/plain"}},
    ),
    "campo desconhecido": lambda c: ("PUT", _ONE, {"json": {c.name: c.said}}),
    "lista": lambda c: ("PUT", _ONE, {"json": [c.said]}),
    "documento errado": lambda c: ("PUT", _ONE, put(client_document=c.document + "0")),
    "documento objeto": lambda c: ("PUT", _ONE, put(client_document={"cpf": c.document})),
    "tudo errado": lambda c: (
        "PUT",
        _ONE,
        put(contact=c.said, assistant=c.said, thread_id=c.said, attachment_at=c.name),
    ),
    "URL errada": lambda c: ("PUT", _ONE, put(attachment_url=f"javascript:{c.said}")),
    "grande": lambda c: ("PUT", _ONE, put(contact=c.said * 4000)),
    "id": lambda c: ("PUT", f"/v1/conversations/{quote(c.said, safe='')}", put()),
    "defeito": lambda c: (
        "PUT",
        f"/v1/conversations/{SETS_OFF}",
        put(client_document=c.document, contact=c.name),
    ),
    "run com nome": lambda c: ("POST", _RUNS, put(conversation_id="api", run_id=c.said)),
    "run desconhecida": lambda c: ("GET", f"/v1/runs/{quote(c.document.strip(), safe='')}", {}),
    "origem": lambda c: (
        "PUT",
        _ONE,
        {"json": {}, "headers": {"Origin": f"https://{c.email.partition('@')[0]}.example"}},
    ),
    "token": lambda c: ("GET", _ONE, {"headers": {"Authorization": f"Bearer {quote(c.said)}"}}),
    "consulta": lambda c: ("GET", f"/v1/calls?since={quote(c.said)}&cursor={quote(c.name)}", {}),
    "caminho": lambda c: ("GET", f"/{quote(c.said, safe='')}", {}),
    "handoff": lambda c: ("GET", f"/v1/handoffs/{quote(c.phone)}", {}),
    "KPIs": lambda c: ("GET", f"/v1/kpis?since={quote(c.document)}", {}),
    "método": lambda c: ("PATCH", f"/v1/calls/{quote(c.document.strip(), safe='')}", {"json": {"x": c.said}}),
}
"""What a caller can get wrong, with personal values in all of it: every answer is an error, and a sink."""

JSON = {"Content-Type": "application/json"}

FAULTS: dict[str, Callable[[Customer], Fault]] = {
    "401": lambda c: Fault(status=401, body=c.echo.decode(), content_type="application/json"),
    "400": lambda c: Fault(status=400, body=c.echo.decode(), content_type="application/json"),
    "429": lambda c: Fault(status=429, body=c.said, headers={"retry-after": "0"}),
    "500": lambda c: Fault(status=500, body=c.said),
    "estado": lambda c: Fault(
        body=json.dumps({"status": c.name, "thread_id": [c.document]}), content_type="application/json"
    ),
    "302": lambda c: Fault(status=302, headers={"location": f"http://127.0.0.1:9/{quote(c.name)}"}),
    "cortou": lambda c: Fault(cut=True),
}
"""What the platform does to the next requests."""


# ------------------------------------------------------------------------------------------------ the world


@dataclass(repr=False)
class World:
    """The daemon in this process, and everything it writes to."""

    folder: Path
    url: str
    settings: Settings
    platform: AssistantsSimulator
    server: RawServer
    http: httpx.AsyncClient
    stderr: io.StringIO
    scripts: dict[str, Call] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)
    number: int = 0
    events: int = 0
    read: int = 0
    replies: dict[str, str] = field(default_factory=dict)
    walked: Counter[str] = field(default_factory=Counter)

    def __repr__(self) -> str:
        """Short: hypothesis prints its arguments, and would print all of this for every example."""
        return "World()"

    def play(self, told: Sequence[CustomerMessage], rounds: Rounds) -> Move:
        """The customer names the case."""
        key = told[-1].text
        return Reply(self.replies[key]) if rounds else FunctionCalls((self.scripts[key],))

    async def walk(
        self, customer: Customer, cases: Sequence[str], asked: Sequence[str], *faults: str
    ) -> None:
        """Lead one customer through these paths; the paths taken are what was meant."""
        with self._as_outside_of_tests():
            await self._walk(customer, cases, asked, faults)
        self.walked.update((*cases, *asked, *(f"plataforma {fault}" for fault in faults)))

    @contextlib.contextmanager
    def _as_outside_of_tests(self) -> Iterator[None]:
        """pytest has a stderr and a treatment of warnings for each test; the daemon has its own."""
        with contextlib.redirect_stderr(self.stderr), warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = foreign._warned
            yield

    async def _walk(
        self, customer: Customer, cases: Sequence[str], asked: Sequence[str], faults: Sequence[str]
    ) -> None:
        for fault in faults:
            for operation in ("retrieve_run", "submit_tool_outputs"):
                self.platform.faults.add(FAULTS[fault](customer).model_copy(update={"on": operation}))
        runs = {name: await self._begin(customer, name) for name in cases}
        refused = [await self._ask(*REQUESTS[name](customer)) for name in asked]
        await self._ended()
        for name, run_id in runs.items():
            assert self._told(run_id) == [CALLS[name][1]], name
        assert all(answer.is_error for answer in refused)
        checked = await self._check(customer)
        self.answers = [f"{answer.headers} {answer.text}" for answer in (*refused, checked)]

    async def _check(self, customer: Customer) -> httpx.Response:
        """The bot has a lie checked that holds everything about the customer."""
        body = {
            "conversation_id": f"c{self.number}",
            "text": lie(customer),
            "known_numbers": [customer.phone],
        }
        answer = await self.http.post(f"{self.url}/v1/replies", json=body)
        assert not answer.json()["ok"], answer.text
        return answer

    async def _ended(self) -> None:
        """Until no run is watched. The database is asked, not the daemon, which would log all its work."""
        query = "select 1 from runs where state = 'watching'"
        with contextlib.closing(sqlite3.connect(self.folder / "worker.db")) as database:
            async with asyncio.timeout(60):
                while database.execute(query).fetchall():  # noqa: ASYNC110  # as above
                    await asyncio.sleep(0.02)

    async def _begin(self, customer: Customer, name: str) -> str:
        self.number += 1
        key, conversation = f"{self.number} {name}", f"c{self.number}"
        self.scripts[key] = CALLS[name][0](customer)
        self.replies[key] = lie(customer)
        thread = {"messages": [{"role": "user", "content": key}]}
        body = {"assistant_id": ASSISTANTS["FINANCEIRO"], "thread": thread}
        run = (await self.http.post(f"{self.settings.OPENAI_BASE_URL}/threads/runs", json=body)).json()
        known = jsonable(customer) | {"thread_id": run["thread_id"]}
        if name == "sem documento":
            del known["client_document"]
        about = await self.http.put(f"{self.url}/v1/conversations/{conversation}", json=known)
        assert about.status_code == 201, about.text
        await self.http.post(
            f"{self.url}/v1/runs", json={"conversation_id": conversation, "run_id": run["id"]}
        )
        return str(run["id"])

    async def _ask(self, method: str, path: str, request: dict[str, Any]) -> httpx.Response:
        return await self.http.request(method, f"{self.url}{path}", **request)

    async def _get(self, path: str) -> httpx.Response:
        return await self._ask("GET", path, {})

    def _told(self, run_id: str) -> list[str | None]:
        steps = self.platform.conversations.run(run_id).steps
        return [json.loads(out).get("error") for step in steps for out in (step.outputs or {}).values()]

    async def sinks(self) -> dict[str, str]:
        """What can be read by somebody who is not meant to read a customer's values."""
        found = {
            path.name: path.read_text(encoding="utf-8") for path in (self.folder / "logs").glob("*.log*")
        }
        found |= {"stderr": self.stderr.getvalue()}
        found |= {f"problema {number}": text for number, text in enumerate(self.answers)}
        for path in (
            "/v1/calls?limit=200",
            "/v1/handoffs?limit=200",
            "/v1/kpis?since=24h",
            "/metrics",
            "/",
            "/docs",
        ):
            found[path] = without_measures((await self._get(path)).text)
        found |= {
            f"evento {number}": exchange.head + exchange.body.decode()
            for number, exchange in enumerate(self.server.requests)
            if b'"tool.call"' not in exchange.body and b'"documento"' not in exchange.body
        }
        return found | await self._printed()

    def _newly_logged(self) -> str:
        with (self.folder / "logs" / "worker.log").open(encoding="utf-8") as log:
            log.seek(self.read)
            text = log.read()
            self.read = log.tell()
        return text

    async def _printed(self) -> dict[str, str]:
        """The listings of the command line."""
        out = io.StringIO()
        console = Console(file=out, width=400)
        await listings.list_calls(self.settings, console, listings.Selection(), limit=200, as_json=False)
        await handoffs.list_handoffs(self.settings, console, state=None, limit=200, as_json=False)
        await replies.list_replies(self.settings, console, since=None, limit=200, as_json=False)
        newest = (await self._get("/v1/calls?limit=1")).json()["items"][0]["call_id"]
        await listings.show_call(self.settings, console, newest, as_json=True)
        with contextlib.suppress(WorkerError):  # not every call can be tried again
            await listings.preview_retry(self.settings, console, newest)
        masked = re.sub(r"^documento .*$", "", out.getvalue(), flags=re.MULTILINE)  # as the API shows it
        return {"linha de comando": without_measures(masked)}

    async def shown(self, customer: Customer) -> dict[str, set[str]]:
        """What of this customer each sink shows; what is read once is not read again."""
        sinks = await self.sinks()
        self.stderr.seek(0)
        self.stderr.truncate()
        self.events += sum(name.startswith("evento") for name in sinks)
        self.server.requests.clear()
        found = {name: leaks(text, customer.words, customer.numbers) for name, text in sinks.items()}
        return {name: values for name, values in found.items() if values}


def without_measures(text: str) -> str:
    """Times and rates have any digits, and so six in a row of any document."""
    return re.sub(r"\d{2}/\d{2}/\d{4}|(?<![\d.])\d+\.\d{4,}(?:e[+-]\d+)?(?![\d-])", "", text)


async def crm_or_bot(exchange: Exchange) -> bool:
    """The CRM, the bot's tools and the bot's events: the case is in what they are sent."""
    named = re.search(rb"caso=([^;\"]+);", exchange.body)
    if b'"tool.call"' in exchange.body:
        await exchange.write(answer(200, json.dumps({"output": exchange.body.decode()}).encode()))
        return True
    return await CRM[named[1].decode() if named else "aberto"][0](exchange)


@contextlib.asynccontextmanager
async def the_world(folder: Path) -> AsyncIterator[World]:
    """A daemon at work, at its most talkative, with the defects of `sabotaged` in it."""
    platform = AssistantsSimulator(timings=QUICK)
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(RawServer(default=crm_or_bot).running())
        base_url = await stack.enter_async_context(serve(platform.app))
        port = free_port()
        chosen = Settings.model_validate(
            BASIC
            | {"OPENAI_BASE_URL": base_url, "CRM_WEBHOOK_URL": server.url, "BOT_WEBHOOK_URL": server.url}
            | {"TOOL_FORWARD_URL": server.url, "CRM_AUTH_HEADER": SECRETS["CRM_AUTH_HEADER"]}
            | {"BOT_WEBHOOK_SECRET": SECRETS["BOT_WEBHOOK_SECRET"], "CRM_MAX_ATTEMPTS": "2"}
            | {"CRM_TIMEOUT_S": "2", "CRM_BREAKER_FAILURES": "100000", "HTTP_PORT": str(port)}
            | {
                "DATABASE_URL": f"sqlite:///{folder}/worker.db",
                "LOG_DIR": f"{folder}/logs",
                "LOG_LEVEL": "TRACE",
            }
        )
        http = await stack.enter_async_context(httpx.AsyncClient(timeout=10))
        world = World(folder, f"http://127.0.0.1:{port}", chosen, platform, server, http, io.StringIO())
        platform.conversations.script = world.play
        running = asyncio.create_task(daemon.run(chosen, []))
        try:
            await ready(world, running)
            yield world
        finally:
            running.cancel()
            await asyncio.wait([running])


async def ready(world: World, running: asyncio.Task[None]) -> None:
    async with asyncio.timeout(20):
        while True:
            assert not running.done(), running
            with contextlib.suppress(httpx.TransportError):
                if (await world._get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.02)


@contextlib.contextmanager
def loud() -> Iterator[None]:
    """Every library at DEBUG."""
    before = {name: logging.getLogger(name).level for name in LOUD}
    for name in LOUD:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


EXAMPLES = int(os.environ.get("LEAK_EXAMPLES", "8"))
"""A walk takes one to two seconds of CPU, most of it to write down what the libraries say at DEBUG."""

PATHS = st.tuples(
    st.lists(st.sampled_from(sorted(CALLS)), min_size=3, max_size=6, unique=True),
    st.lists(st.sampled_from(sorted(REQUESTS)), min_size=3, max_size=6, unique=True),
    st.sampled_from(sorted(FAULTS)),
)


ANYBODY = Customer(
    name="Zulmirã Quaresmjk",
    document="914.273.586-64",
    phone="5524997135826",
    email="zulmjkra@caixa.example",
    amount="17.391,84",
    url="https://recjkbos.example/8841zz?token=q7w8",
    text="separação judicial",
)
"""With words that no line of ours has."""

Walking = tuple[World, asyncio.Runner]


@pytest.fixture(scope="module")
def walking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walking]:
    """The world, and what it runs in: hypothesis calls plain functions."""
    with pytest.MonkeyPatch.context() as patch, asyncio.Runner() as runner, loud():
        sabotage(patch.setattr)
        stack = contextlib.AsyncExitStack()
        world = runner.run(stack.enter_async_context(the_world(tmp_path_factory.mktemp("leak"))))
        try:
            yield world, runner
        finally:
            runner.run(stack.aclose())
            logs.shutdown()


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],  # a leak is shown by any example; to shrink one would take the day
    suppress_health_check=list(HealthCheck),
)
@given(customer=CUSTOMERS, paths=PATHS)
def test_no_personal_value_reaches_a_sink_by_any_path(
    walking: Walking, customer: Customer, paths: tuple[list[str], list[str], str]
) -> None:
    world, runner = walking
    for path in (*paths[0], *paths[1], paths[2]):
        event(path)
    runner.run(world.walk(customer, *paths))
    assert runner.run(world.shown(customer)) == {}


def test_nor_by_a_path_that_was_not_drawn(walking: Walking) -> None:
    """Every path is walked: else the silence means nothing."""
    world, runner = walking
    cases, asked = CALLS.keys() - world.walked.keys(), REQUESTS.keys() - world.walked.keys()
    faults = [name for name in FAULTS if f"plataforma {name}" not in world.walked]
    runner.run(world.walk(ANYBODY, sorted(cases), sorted(asked), *faults))
    assert runner.run(world.shown(ANYBODY)) == {}
    assert world.walked.keys() == {*CALLS, *REQUESTS, *(f"plataforma {name}" for name in FAULTS)}


def test_the_daemon_wrote_about_it_all(walking: Walking) -> None:
    """The sinks were searched where something is."""
    log = (walking[0].folder / "logs" / "worker.log").read_text(encoding="utf-8")
    for line in (
        "Chamando abrirTicketCRM",
        "defeito ao executar",
        "sqlalchemy",
        "httpcore",
        "estranho",
        "RuntimeWarning",
    ):
        assert line in log, line
    assert walking[0].events


# ------------------------------------------------------------------------------------------- it can fail


def a_line_of_ours(patch: pytest.MonkeyPatch) -> None:
    plan = AbrirTicketCrm.plan

    def told(self: AbrirTicketCrm, arguments: Personal, conversation: Any) -> Any:
        logs.event(f"pedido {arguments.reveal()}", level="WARNING")  # type: ignore[arg-type]  # the very mistake
        return plan(self, arguments, conversation)

    patch.setattr(AbrirTicketCrm, "plan", told)


def what_libraries_log(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        foreign._Reducer, "emit", lambda _, record: sinks.emit("DEBUG", record.getMessage(), {"logger": "x"})
    )


def what_exceptions_say(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(logs, "reduced", repr)


def what_was_sent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        problems, "_field", lambda item: problems.FieldProblem(field="x", message=str(item["input"]))
    )


MISTAKES = [
    (a_line_of_ours, "worker.log"),
    (what_libraries_log, "worker.log"),
    (what_exceptions_say, "worker.log"),
    (what_was_sent, "problema"),
]


@pytest.mark.parametrize(("mistake", "sink"), MISTAKES, ids=[each.__name__ for each, _ in MISTAKES])
def test_a_mistake_is_seen(
    walking: Walking, monkeypatch: pytest.MonkeyPatch, mistake: Any, sink: str
) -> None:
    world, runner = walking
    mistake(monkeypatch)
    caught = sum(counted().values())
    runner.run(world.walk(ANYBODY, ["crm aberto", "defeito ao executar"], ["tudo errado", "defeito"]))
    shown = runner.run(world.shown(ANYBODY))
    found = set().union(*(values for name, values in shown.items() if name.startswith(sink)))
    assert "zulmira" in found
    if mistake is a_line_of_ours:  # what has a shape went no further than the last resort
        assert "91427358664" not in found
        assert sum(counted().values()) > caught


def counted() -> dict[str, float]:
    samples = (sample for family in metrics.log_redactions.collect() for sample in family.samples)
    return {each.labels["shape"]: each.value for each in samples if each.name.endswith("_total")}
