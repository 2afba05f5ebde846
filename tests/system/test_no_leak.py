"""Nothing personal in any sink (contract §9): marked values go through every path, every sink is searched.

Two daemons walk all paths at once: one writes text at TRACE and ends when the database stops recording, one
writes JSON at DEBUG, forwards to the bot's own tools, and ends by a defect in the loop.
"""

import asyncio
import contextlib
import gzip
import json
import re
import socket
import sqlite3
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import pytest_asyncio

from tests.raw_server import Act, Exchange, RawServer, reply, reset, say
from tests.system.daemon import QUICK, Daemon, House, house
from tests.system.personal_values import (
    CNPJ,
    DOCUMENT,
    EMAIL,
    ID_MAIL,
    ID_PHONE,
    MASKED,
    NAME,
    PERSONAL,
    PHONE,
    SECRETS,
    TOOL_NUMBER,
    URL,
    leaks,
    leaks_in_bytes,
)
from tests.system.sabotaged import FATAL_RUN, SETS_OFF
from worker.simulator.assistants.app import AssistantsSimulator
from worker.simulator.assistants.runs import Timings
from worker.simulator.faults import Fault
from worker.simulator.script import Call, CustomerMessage, FunctionCalls, Move, Reply, Rounds, call

ECHO = json.dumps({"erro": PERSONAL, "documento": DOCUMENT}, ensure_ascii=False).encode()
OPENED = b'[{"data": [{"resposta": [{"protocolo": "2510271534789012"}]}]}]'
NAMED = json.dumps([{"data": [{"resposta": [{"protocolo": NAME}]}]}]).encode()


async def never(_exchange: Exchange) -> bool:
    await asyncio.Event().wait()
    return False


CRM: dict[str, tuple[Act, str | None]] = {
    "aberto": (reply(200, OPENED), None),
    "fora": (reply(503, ECHO), "crm_indisponivel"),
    "html 500": (reply(500, f"<html>{PERSONAL}</html>".encode()), "crm_indisponivel"),
    "408": (reply(408, ECHO), "crm_indisponivel"),
    "429": (reply(429, ECHO, Retry_After=NAME.split()[0]), "crm_indisponivel"),
    "400": (reply(400, ECHO), "crm_recusou"),
    "404": (reply(404, ECHO), "crm_recusou"),
    "302": (reply(302, ECHO, Location=URL), "crm_recusou"),
    "302 sem destino": (reply(302, ECHO, Location=f"http://[{DOCUMENT}"), "crm_recusou"),
    "html": (reply(200, f"<html>{PERSONAL}</html>".encode()), "sem_protocolo"),
    "vazio": (reply(200, b""), "sem_protocolo"),
    "nome": (reply(200, NAMED), "sem_protocolo"),
    "desligou": (say(b""), "crm_indisponivel"),
    "derrubou": (reset(), "crm_indisponivel"),
    "partiu": (say(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + ECHO), "crm_indisponivel"),
    "outra lingua": (say(PERSONAL.encode()), "crm_indisponivel"),
    "mau cabecalho": (say(f"HTTP/1.1 200 OK\r\n{EMAIL}\r\n\r\n".encode()), "crm_indisponivel"),
    "mau gzip": (reply(200, gzip.compress(ECHO)[:20] + ECHO, Content_Encoding="gzip"), "sem_protocolo"),
    "calado": (never, "crm_indisponivel"),
    "tarde": (never, "em_confirmacao"),
}
"""What the CRM does about a ticket whose resumo names it, and what the model is told."""


def ticket(**changes: str) -> Call:
    valid = {"resumo": PERSONAL, "setor": "FINANCEIRO", "motivo": "INFORMAR PAGAMENTO"}
    return call("abrir_ticket_crm", **{**valid, **changes})


def raw(arguments: str) -> Call:
    return Call("abrir_ticket_crm", arguments)


CALLS: dict[str, tuple[Call, set[str | None]]] = {
    **{f"crm {name}": (ticket(resumo=f"{PERSONAL} caso={name};"), {code}) for name, (_, code) in CRM.items()},
    "transferir": (call("transferir_para_humano", departamento="financeiro", motivo=PERSONAL), {None}),
    "departamento": (
        call("transferir_para_humano", departamento=PERSONAL, motivo=PERSONAL),
        {"departamento_invalido"},
    ),
    "setor": (ticket(setor=PERSONAL), {"setor_invalido"}),
    "motivo": (ticket(motivo=f"{NAME} {MASKED}"), {"motivo_incompativel"}),
    "faltando": (raw(json.dumps({NAME: PERSONAL, "setor": "FINANCEIRO"})), {"parametros_faltando"}),
    "json quebrado": (raw(f'{{"resumo": "{PERSONAL}'), {"argumentos_invalidos"}),
    "lista": (raw(json.dumps([PERSONAL])), {"argumentos_invalidos"}),
    "número": (raw(json.dumps({"resumo": int(DOCUMENT)})), {"argumentos_invalidos"}),
    "longo": (ticket(resumo=PERSONAL * 100), {"argumentos_invalidos"}),
    "NUL": (ticket(resumo=PERSONAL + "\0"), {"argumentos_invalidos"}),
    "meio caractere": (raw(f'{{"resumo": "{PERSONAL} \\ud83d"}}'), {"argumentos_invalidos"}),
    "fundo": (raw("[" * 50_000 + PERSONAL), {"argumentos_invalidos"}),
    "sem documento": (ticket(), {"documento_ausente"}),
    "apagada": (ticket(), {"conversa_desconhecida"}),
    "função do bot": (call("segunda_via", cliente=PERSONAL), {"ferramenta_desconhecida", None}),
    "função com número": (
        call(f"consultar_{TOOL_NUMBER}", caso="fora", cliente=PERSONAL),
        {"ferramenta_desconhecida", "ferramenta_falhou"},
    ),
    "função com nome": (call(f"consultar {NAME}", cliente=PERSONAL), {"ferramenta_desconhecida"}),
    "defeito ao avaliar": (ticket(setor=f"{SETS_OFF} {PERSONAL}"), {"erro_interno"}),
    "defeito ao executar": (ticket(resumo=f"{PERSONAL} {SETS_OFF}"), {"erro_interno"}),
}
STRIKES = 45
"""More than all the failures above, and few enough that with the 32 in flight not every last call is sent."""

OVERLOAD = [ticket(resumo=f"{PERSONAL} nº {number} caso=fora;") for number in range(STRIKES + 10)]


def asked_in(name: str) -> tuple[Call, ...]:
    """The calls of a case; with 2× in front, two equal ones side by side."""
    if name == "sobrecarga":
        return tuple(OVERLOAD)
    wanted = CALLS[name.removeprefix("2× ")][0]
    return (wanted, wanted) if name.startswith("2×") else (wanted,)


def play(told: Sequence[CustomerMessage], rounds: Rounds) -> Move:
    """The customer names the case."""
    return Reply(PERSONAL) if rounds else FunctionCalls(asked_in(told[-1].text))


async def crm_or_bot(exchange: Exchange) -> bool:
    """Both servers: the case is in what they are sent."""
    if b'"tool.call"' in exchange.body and b"fora" not in exchange.body:
        return await reply(200, json.dumps({"output": {"success": True, "eco": PERSONAL}}).encode())(exchange)
    named = re.search(rb"caso(?:=|\": \")([^;\"]+)", exchange.body)
    return await CRM[named[1].decode() if named else "aberto"][0](exchange)


# ------------------------------------------------------------------------------------------------ the walk


@dataclass
class Walk:
    """One daemon that was led through everything, and where it could have told."""

    home: House
    sinks: dict[str, str] = field(default_factory=dict)
    database: dict[str, bytes] = field(default_factory=dict)
    told: dict[str, list[str | None]] = field(default_factory=dict)
    statuses: set[int] = field(default_factory=set)
    ended: int | None = None

    def look(self, daemon: Daemon) -> None:
        """Keep what the sinks hold now."""
        logs = sorted((daemon.folder / "logs").glob("*.log*"))
        self.sinks |= {path.name: path.read_text(encoding="utf-8") for path in logs}
        self.sinks |= {"stdout": daemon.stdout, "stderr": daemon.stderr}
        if not self.home.stored("select 1 from sqlite_master where type = 'trigger'"):  # those are ours
            for path in daemon.folder.glob("worker.db*"):
                self.database[f"{path.name} {self.ended}"] = path.read_bytes()


async def walk(folder: Path, **settings: str) -> Walk:
    platform = AssistantsSimulator(script=play, timings=QUICK)
    async with RawServer(default=crm_or_bot).running() as server, house(folder, platform) as home:
        home.http.headers["Authorization"] = f"Bearer {SECRETS['API_TOKEN']}"
        walked = Walk(home)
        own = SECRETS | {
            "CRM_WEBHOOK_URL": server.url,
            "CRM_TIMEOUT_S": "1.5",
            "CRM_MAX_ATTEMPTS": "2",
            "CRM_BREAKER_FAILURES": str(STRIKES),
            "OPENAI_LOG": "debug",
        }
        if settings["LOG_FORMAT"] == "json":
            own |= {"TOOL_FORWARD_URL": server.url, "BOT_WEBHOOK_URL": server.url}
        async with home.daemon("tests.system.sabotaged", anew=True, **own, **settings) as daemon:
            await lead(walked, daemon)
            walked.look(daemon)
            await (end_by_defect if settings["LOG_FORMAT"] == "json" else end_by_database)(walked, daemon)
            walked.ended = await daemon.ended()
            walked.look(daemon)
        return walked


async def lead(walked: Walk, daemon: Daemon) -> None:
    platform_says(walked.home)
    names = [name for name in CALLS if name != "apagada"]
    await cases(walked, daemon, *names, "2× crm aberto")
    await cases(walked, daemon, "apagada", "sobrecarga")
    await through_the_api(walked, daemon)


def platform_says(home: House) -> None:
    """Met by whichever runs come first."""
    for operation in ("retrieve_run", "submit_tool_outputs"):
        for fault in (
            Fault(status=401, body=ECHO.decode(), content_type="application/json"),
            Fault(status=400, body=ECHO.decode(), content_type="application/json"),
            Fault(status=429, body=PERSONAL, headers={"retry-after": "0"}),
            Fault(status=500, body=PERSONAL),
            Fault(body=PERSONAL, content_type="application/json"),
            Fault(
                body=json.dumps({"status": NAME, "thread_id": [DOCUMENT]}), content_type="application/json"
            ),
            Fault(status=302, headers={"location": f"http://127.0.0.1:9/{quote(NAME)}"}),
            Fault(drop=True),
            Fault(cut=True),
        ):
            home.platform.faults.add(fault.model_copy(update={"on": operation}))


TIMINGS = {
    "crm tarde": Timings(queued_s=0, thinking_s=0, lifetime_s=32),
    "apagada": Timings(queued_s=0, thinking_s=300),
}
"""Answered within two seconds, since the last 30 are not ours; and time enough to erase the conversation."""


async def cases(walked: Walk, daemon: Daemon, *names: str) -> None:
    """Customers' runs, side by side, and what their models were told."""
    runs = {name: await begun(walked.home, daemon, name) for name in names}
    async with asyncio.timeout(60):
        # The database is asked, not the daemon, which would log every request's work.
        while walked.home.stored("select 1 from runs where state = 'watching'"):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    for name, run_id in runs.items():
        walked.told[name] = [told.get("error") for told in walked.home.told(run_id)]


async def begun(home: House, daemon: Daemon, name: str) -> str:
    """One customer's run, announced."""
    home.platform.conversations.timings = TIMINGS.get(name, QUICK)
    run, conversation = await home.begin(name), conversation_of(name)
    known = {"client_document": None if name == "sem documento" else MASKED, "contact": PHONE}
    about = known | {"thread_id": run["thread_id"], "attachment_url": URL}
    await home.call("PUT", f"{daemon.url}/v1/conversations/{conversation}", about)
    await home.call("POST", f"{daemon.url}/v1/runs", {"conversation_id": conversation, "run_id": run["id"]})
    if name == "apagada":
        forget(home.folder, conversation)
        home.platform.conversations.run(run["id"]).timings = QUICK
    return str(run["id"])


def conversation_of(name: str) -> str:
    """Bots name their conversations after what they have: a phone number, an address."""
    number = f"conv-{sum(name.encode())}-{len(name)}"
    return {"crm aberto": f"whatsapp-{ID_PHONE}", "crm fora": ID_MAIL}.get(name, number)


def forget(folder: Path, conversation: str) -> None:
    with contextlib.closing(sqlite3.connect(folder / "worker.db", timeout=10)) as database, database:
        database.execute("delete from conversations where conversation_id = ?", (conversation,))


def fails_to_record(folder: Path, table: str) -> None:
    with contextlib.closing(sqlite3.connect(folder / "worker.db", timeout=10)) as database, database:
        said = PERSONAL.replace("'", "")
        database.execute(
            f"create trigger no_{table} before insert on {table} begin select raise(abort, '{said}'); end"
        )


async def end_by_database(walked: Walk, daemon: Daemon) -> None:
    """First the API cannot record, then the loop cannot."""
    fails_to_record(daemon.folder, "conversations")
    await ask(walked, "PUT", f"{daemon.url}/v1/conversations/nova", json={"client_document": DOCUMENT})
    forget_trigger(daemon.folder)
    fails_to_record(daemon.folder, "calls")
    await hand_over_only(walked, daemon)


def forget_trigger(folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(folder / "worker.db", timeout=10)) as database, database:
        database.execute("drop trigger no_conversations")


async def hand_over_only(walked: Walk, daemon: Daemon) -> None:
    run = await walked.home.begin("setor")
    about = {"thread_id": run["thread_id"], "client_document": DOCUMENT}
    await walked.home.call("PUT", f"{daemon.url}/v1/conversations/final", about)
    body = {"conversation_id": "final", "run_id": run["id"]}
    with contextlib.suppress(httpx.TransportError):  # it may be quicker to die than to answer
        await walked.home.call("POST", f"{daemon.url}/v1/runs", body)


async def end_by_defect(walked: Walk, daemon: Daemon) -> None:
    body = {"conversation_id": conversation_of("setor"), "run_id": FATAL_RUN}
    with contextlib.suppress(httpx.TransportError):
        await walked.home.call("POST", f"{daemon.url}/v1/runs", body)


# ------------------------------------------------------------------------------------------------- the API


async def through_the_api(walked: Walk, daemon: Daemon) -> None:
    """Everything a caller can get wrong, with marked values in all of it."""
    one, runs = f"{daemon.url}/v1/conversations/api", f"{daemon.url}/v1/runs"
    text = {"Content-Type": "application/json"}
    ids = {"conversation_id": "api", "run_id": "run_1"}
    await asyncio.gather(
        ask(walked, "PUT", one, content=f'{{"contact": "{PERSONAL}'.encode(), headers=text),
        ask(walked, "PUT", one, content=PERSONAL.encode("latin-1"), headers=text),
        ask(walked, "PUT", one, content=PERSONAL.encode(), headers={"Content-Type": "text/plain"}),
        ask(walked, "PUT", one, json={NAME: PERSONAL}),
        ask(walked, "PUT", one, json=[PERSONAL]),
        ask(walked, "PUT", one, json={"client_document": DOCUMENT[:-1] + "0"}),
        ask(walked, "PUT", one, json={"client_document": {"cpf": DOCUMENT}}),
        ask(walked, "PUT", one, json={"contact": PERSONAL * 2, "assistant": PERSONAL, "thread_id": PERSONAL}),
        ask(walked, "PUT", one, json={"attachment_url": f"javascript:{PERSONAL}", "attachment_at": NAME}),
        ask(walked, "PUT", one, json={"attachment_url": URL, "attachment_at": "2999-01-01T00:00:00Z"}),
        ask(walked, "PUT", one, content=json.dumps({"contact": PERSONAL * 2000}).encode(), headers=text),
        ask(walked, "PUT", f"{daemon.url}/v1/conversations/{quote(PERSONAL, safe='')}", json={}),
        ask(walked, "PUT", f"{daemon.url}/v1/conversations/{SETS_OFF}", json={"client_document": DOCUMENT}),
        ask(walked, "PUT", one, json={}, headers={"Origin": f"https://{EMAIL.partition('@')[2]}"}),
        ask(walked, "POST", runs, json={"conversation_id": f"{EMAIL}", "run_id": f"run_{DOCUMENT}"}),
        ask(walked, "POST", runs, json={**ids, NAME: DOCUMENT}),
        ask(walked, "POST", runs, json={**ids, "run_id": PERSONAL}),
        ask(walked, "POST", runs, json={**ids, "run_id": f"sess_{DOCUMENT}"}),
        ask(walked, "PATCH", f"{daemon.url}/v1/runs/{DOCUMENT}", json={"x": PERSONAL}),
        *(ask(walked, "GET", f"{daemon.url}/v1/{path}") for path in wrong_paths()),
        *(ask(walked, "GET", runs, headers={"Authorization": wrong}) for wrong in wrong_tokens()),
    )
    await asyncio.to_thread(speak_nonsense, daemon.port)


def wrong_paths() -> Sequence[str]:
    personal = quote(PERSONAL, safe="")
    queries = (f"calls?{name}={personal}" for name in ("since", "cursor", "state", "limit", "conversation"))
    return [personal, f"calls/{personal}", f"calls/{DOCUMENT}", f"runs/{CNPJ}", f"handoffs/{PHONE}", *queries]


def wrong_tokens() -> Sequence[str]:
    return [f"Bearer {DOCUMENT}", f"Basic {EMAIL}", f"Digest {quote(NAME)}"]


def speak_nonsense(port: int) -> None:
    """Not HTTP at all, and a request that is left half way."""
    for said in (
        PERSONAL,
        f"GET /?cpf={DOCUMENT} HTTP/1.1\r\n{NAME}\r\n\r\n",
        f"PUT /{DOCUMENT} HTTP/1.1\r\nHo",
    ):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(said.encode())


async def ask(walked: Walk, method: str, url: str, **request: Any) -> None:
    """A request that is refused; the answer is a sink as well."""
    answer = await walked.home.http.request(method, url, **request)
    if answer.is_error:
        walked.sinks[f"{method} {len(walked.sinks)}"] = f"{answer.headers} {answer.text}"
        walked.statuses.add(answer.status_code)


# --------------------------------------------------------------------------------------------- what is seen


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[dict[str, Walk]]:
    """Side by side, for the time it takes."""
    text = walk(tmp_path_factory.mktemp("text"), LOG_LEVEL="TRACE", LOG_FORMAT="text")
    as_json = walk(tmp_path_factory.mktemp("json"), LOG_LEVEL="DEBUG", LOG_FORMAT="json")
    walks = await asyncio.gather(text, as_json)
    yield dict(zip(("text", "json"), walks, strict=True))


@pytest.fixture(params=["text", "json"])
def walked(request: pytest.FixtureRequest, both: dict[str, Walk]) -> Walk:
    return both[request.param]


def test_no_sink_shows_a_marked_value(walked: Walk) -> None:
    shown = {name: found for name, text in walked.sinks.items() if (found := leaks(text))}
    assert shown == {}


def test_the_database_keeps_no_payload_in_clear(walked: Walk) -> None:
    assert {"worker.db None", "worker.db-wal None"} <= walked.database.keys()
    shown = {name: found for name, data in walked.database.items() if (found := leaks_in_bytes(data))}
    assert shown == {}


def test_every_path_was_walked(walked: Walk) -> None:
    """Else the silence above means nothing."""
    wanted = {name: codes for name, (_, codes) in CALLS.items()}
    went = {name: told for name, told in walked.told.items() if name in wanted}
    assert went.keys() == wanted.keys()
    assert {
        name: told for name, told in went.items() if not (len(told) == 1 and set(told) <= wanted[name])
    } == {}
    assert walked.told["2× crm aberto"] == [None, None]
    assert walked.statuses >= {400, 401, 403, 404, 405, 413, 415, 422, 500}
    assert walked.ended == 1


def test_the_last_calls_met_an_open_breaker(walked: Walk) -> None:
    assert walked.told["sobrecarga"] == ["crm_indisponivel"] * len(OVERLOAD)
    cut_short = "select 1 from calls where error = 'crm_indisponivel' and attempts < 2"
    assert walked.home.stored(cut_short)


def test_the_daemons_wrote_about_it_all(both: dict[str, Walk]) -> None:
    """The sinks were searched where something is: the tickets' lines, the libraries' chatter, the crashes."""
    for walked in both.values():
        log = walked.sinks["worker.log"]
        for line in ("Chamando abrirTicketCRM", "Ticket reaproveitado", "defeito ao executar", "estranho"):
            assert line in log, line
        assert " conversationId=conv-" in log
        assert "DEBUG" in log
        assert "Traceback" not in walked.sinks["stderr"]
    assert "deixou de gravar" in both["text"].sinks["stderr"]
    assert 503 in both["text"].statuses
    assert "erro inesperado" in both["json"].sinks["worker.log"]


# ------------------------------------------------------------------------------------- the search can fail

PLANTED = [
    *(PERSONAL, NAME.upper(), "ZULMIRA", DOCUMENT, MASKED, "***.273.586-**", CNPJ.lower(), "7X.KPQ.4R8/0T"),
    *(f"doc={DOCUMENT[2:9]}", quote(PERSONAL), json.dumps(NAME), EMAIL, "R$ 7.391,84", "(24) 99713-5826"),
    *(
        "recibos.example",
        repr(PERSONAL.encode()),
        f"x 2026-11-22T10:00:00.123 {PHONE[-8:]}",
        SECRETS["API_TOKEN"],
    ),
]


@pytest.mark.parametrize("planted", PLANTED)
def test_the_search_finds_what_is_planted_in_a_sink(walked: Walk, planted: str) -> None:
    log = walked.sinks["worker.log"][-5000:]
    assert leaks(f"{log}\n{planted}\n")
    assert not leaks(log)


@pytest.mark.parametrize("planted", [NAME, DOCUMENT, MASKED, EMAIL, URL, f"+55 24 {PHONE[4:9]}-{PHONE[9:]}"])
def test_the_search_finds_what_is_planted_in_a_database(tmp_path: Path, planted: str) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "planted.db")) as database, database:
        database.execute("create table t (value text)")
        database.execute("insert into t values (?)", (f"de {planted}.",))
    assert leaks_in_bytes((tmp_path / "planted.db").read_bytes())
