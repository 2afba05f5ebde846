"""What an answer of the CRM's lookup proves of a ticket in doubt: found, absent, or nothing."""

import contextlib
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.raw_server import Act, Exchange, Gate, RawServer, answer, reply, reset, say, trickle
from worker import logs
from worker.outbound import client
from worker.personal import Personal
from worker.simulator.crm import CrmSimulator, Ticket, brazilian_date, iso_date
from worker.simulator.server import serve
from worker.tools.lookup import Absent, Lookup, LookupSettings, TicketQuery

PROTOCOLO = "2510271534789012"
OTHER = "2510271534000000"
SINCE = datetime.fromisoformat("2025-10-27T15:30:00-03:00").timestamp()
SOUGHT = TicketQuery(Personal("52998224725"), "LOCAÇÃO", "MANUNTENÇAO DE CAMERA", SINCE)
ROW = {
    "setor": "LOCAÇÃO",
    "motivo": "MANUNTENÇAO DE CAMERA",
    "status": "ABERTO",
    "data_abertura": "2025-10-27T15:34:00-03:00",
    "protocolo": PROTOCOLO,
}
OLD = ROW | {"data_abertura": "2025-10-26T09:00:00-03:00", "protocolo": OTHER}
SETTINGS = LookupSettings(url="", timeout_s=5.0, timezone="America/Sao_Paulo", protocol_pattern=r"^\d{8,20}$")


def listing(*rows: object) -> Act:
    return reply(body=json.dumps(rows, ensure_ascii=False).encode())


def holding(*protocolos: str) -> Callable[[str], Awaitable[bool]]:
    async def held(protocolo: str) -> bool:
        return protocolo in protocolos

    return held


@contextlib.asynccontextmanager
async def looking(url: str, **changes: Any) -> AsyncIterator[Lookup]:
    lookup = Lookup(replace(SETTINGS, url=url, **changes))
    try:
        yield lookup
    finally:
        await lookup.aclose()


async def find(
    act: Act, *, sought: TicketQuery = SOUGHT, held: tuple[str, ...] = (), **changes: Any
) -> str | Absent:
    """What one lookup finds at a CRM that does this."""
    async with RawServer(act).running() as crm, looking(crm.url, **changes) as lookup:
        return await lookup.find(sought, holding(*held))


# ---------------------------------------------------------------------------------------------- the request


async def test_the_crm_is_asked_for_the_document_and_nothing_else() -> None:
    async with (
        RawServer(listing(ROW)).running() as crm,
        looking(crm.url, auth_header=("X-Api-Key", "segredo")) as lookup,
    ):
        assert await lookup.find(SOUGHT, holding()) == PROTOCOLO
    (request,) = crm.requests
    assert request.head.startswith("POST ")
    assert json.loads(request.body) == {"documento": "52998224725"}
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-api-key"] == "segredo"


def test_neither_url_nor_secret_is_shown() -> None:
    shown = repr(replace(SETTINGS, url="https://crm.test/?token=abc", auth_header=("X-Api-Key", "segredo")))
    assert "abc" not in shown
    assert "segredo" not in shown


async def test_a_crm_on_this_machine_is_asked_without_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    async with RawServer(default=reply(500)).running() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url.removesuffix("/abrir_ticket"))
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        assert await find(listing(ROW)) == PROTOCOLO
        assert proxy.requests == []


async def test_no_cookie_of_one_customers_answer_goes_with_the_next_ones_question() -> None:
    async with RawServer(reply(Set_Cookie="a=1"), listing(ROW)).running() as crm, looking(crm.url) as lookup:
        for _ in range(2):
            await lookup.find(SOUGHT, holding())
        assert "cookie" not in crm.requests[1].headers


async def test_bytes_behind_one_customers_answer_are_no_part_of_the_next_ones() -> None:
    async def two_answers(exchange: Exchange) -> bool:
        anothers = json.dumps([ROW]).encode()
        await exchange.write(answer(200, b"[]") + answer(200, anothers))
        return True

    server = RawServer(two_answers, default=reply(body=b"[]"))
    async with server.running() as crm, looking(crm.url) as lookup:
        assert [await lookup.find(SOUGHT, holding()) for _ in range(2)] == [Absent.ABSENT] * 2


@pytest.mark.parametrize("format_date", [iso_date, brazilian_date])
async def test_the_simulated_crm_is_understood_in_both_its_dates(format_date: Callable[[float], str]) -> None:
    crm = CrmSimulator(format_date=format_date)
    ticket = Ticket(PROTOCOLO, "52998224725", "x", "FINANCEIRO", "PAGAMENTO", None, crm.clock.now())
    crm.tickets.append(ticket)
    sought = replace(SOUGHT, setor="FINANCEIRO", motivo="PAGAMENTO", since=ticket.opened_at)
    async with serve(crm.app) as url, looking(url + crm.lookup) as lookup:
        assert await lookup.find(sought, holding()) == ticket.protocolo
        assert await lookup.find(replace(sought, motivo="BLOQUEIO"), holding()) is Absent.ABSENT
        assert await lookup.find(replace(sought, since=ticket.opened_at + 122), holding()) is Absent.ABSENT


# ------------------------------------------------------------------------------------------------- the dates

FOUND, ABSENT, NOT_KNOWN = PROTOCOLO, Absent.ABSENT, Absent.NOT_KNOWN


async def found_with(date: object, since: float = SINCE, timezone: str = "America/Sao_Paulo") -> str | Absent:
    row = ROW | {"data_abertura": date}
    return await find(listing(row), sought=replace(SOUGHT, since=since), timezone=timezone)


@pytest.mark.parametrize(
    ("date", "result"),
    [
        ("2025-10-27T15:28:00-03:00", FOUND),
        ("2025-10-27T15:27:59-03:00", ABSENT),
        ("2025-10-27T18:28:00Z", FOUND),
        ("2025-10-27T18:27:59.999Z", ABSENT),
        ("2025-10-27T18:28:00.1234567+00:00", FOUND),
        ("2025-10-27T15:28:00", FOUND),
        ("2025-10-27 15:27:59", ABSENT),
        ("2025-10-27T15:28", FOUND),
        ("2025-10-27T15:28-0300", FOUND),
        ("2025-10-28T00:27+09:00", ABSENT),
        ("27/10/2025 15:28:00", FOUND),
        ("27/10/2025 15:27:59", ABSENT),
        ("27/10/2025 15:28", FOUND),
        ("27/10/2025 15:27", ABSENT),
        (" 27/10/2025 15:28 ", FOUND),
        ("01/11/2025 00:00", FOUND),
        ("11/01/2025 00:00", ABSENT),
    ],
)
async def test_a_moment_counts_up_to_two_minutes_before_the_first_attempt(
    date: str, result: str | Absent
) -> None:
    assert await found_with(date) == result


@pytest.mark.parametrize(
    ("date", "result"),
    [
        ("2025-10-27", FOUND),
        ("27/10/2025", FOUND),
        ("28/10/2025", FOUND),
        ("27/10/2025\r\n", FOUND),
        ("2025-10-26", ABSENT),
        ("26/10/2025", ABSENT),
    ],
)
async def test_a_bare_date_matches_its_whole_day(date: str, result: str | Absent) -> None:
    assert await found_with(date) == result


async def test_the_day_before_counts_in_the_first_two_minutes_of_a_day() -> None:
    midnight = datetime.fromisoformat("2025-10-27T00:00:00-03:00").timestamp()
    assert await found_with("26/10/2025", since=midnight + 119) == FOUND
    assert await found_with("26/10/2025", since=midnight + 121) == ABSENT


@pytest.mark.parametrize(
    ("date", "in_sao_paulo", "in_utc"),
    [
        ("27/10/2025 21:59", FOUND, ABSENT),
        ("28/10/2025 00:59", FOUND, FOUND),
        ("27/10/2025", FOUND, ABSENT),
        ("2025-10-27T21:59", FOUND, ABSENT),
        ("2025-10-27T21:59-03:00", FOUND, FOUND),
    ],
)
async def test_a_date_without_offset_is_read_in_the_settings_time_zone(
    date: str, in_sao_paulo: str | Absent, in_utc: str | Absent
) -> None:
    since = datetime.fromisoformat("2025-10-28T01:00:00+00:00").timestamp()
    assert await found_with(date, since, "America/Sao_Paulo") == in_sao_paulo
    assert await found_with(date, since, "UTC") == in_utc


@pytest.mark.parametrize(
    ("date", "result"),
    [
        ("2025-11-02 01:30:00", NOT_KNOWN),
        ("02/11/2025 01:59", NOT_KNOWN),
        ("2025-11-02 01:30:00-05:00", FOUND),
        ("2025-11-02 01:30:00-04:00", ABSENT),
        ("2025-11-02 00:59:59", ABSENT),
        ("2025-11-02 02:00:00", FOUND),
        ("2025-03-09 02:30:00", NOT_KNOWN),
    ],
)
async def test_an_hour_that_the_clocks_show_twice_or_never_proves_nothing(
    date: str, result: str | Absent
) -> None:
    since = datetime.fromisoformat("2025-11-02T01:30:00-05:00").timestamp()
    assert await found_with(date, since, "America/New_York") == result


@pytest.mark.parametrize(
    "date",
    [
        None,
        "",
        "ontem",
        True,
        1761590040,
        20251027,
        [],
        "1761590040",
        "1712051210304",
        "20251027",
        "2025-W44-1",
        "2025-300",
        "2025-10-27T15",
        "2025-10-27T25:00",
        "2025-13-01",
        "0000-00-00 00:00:00",
        "10/27/2025",
        "7/10/2025",
        "27/10/25",
        "27-10-2025",
        "27/10/2025 às 15:34",
        "em 27/10/2025",
        "٢٧/١٠/٢٠٢٥",
        "2025-10-27T15:34:00 mais ou menos",
    ],
)
async def test_a_date_that_cannot_be_read_proves_nothing(date: object) -> None:
    assert await found_with(date) is NOT_KNOWN


# -------------------------------------------------------------------------------------------------- the rows


@pytest.mark.parametrize(
    "spelling",
    [
        {"setor": "locacao", "motivo": "manuntencao_de_camera"},
        {"setor": " Locação ", "motivo": "Manuntençao  de Câmera"},
    ],
)
async def test_setor_and_motivo_are_compared_folded(spelling: dict[str, str]) -> None:
    assert await find(listing(ROW | spelling)) == PROTOCOLO


@pytest.mark.parametrize(
    ("rows", "held", "result"),
    [
        pytest.param([], (), ABSENT, id="none at all"),
        pytest.param([ROW | {"setor": "SUPORTE"}], (), ABSENT, id="another setor"),
        pytest.param([ROW | {"motivo": "REPARO TVBOX"}], (), ABSENT, id="another motivo"),
        pytest.param([OLD], (), ABSENT, id="opened before"),
        pytest.param([OLD, ROW, ROW | {"motivo": "OUTRO"}], (), FOUND, id="one of several is ours"),
        pytest.param([ROW, ROW | {"protocolo": OTHER}], (), NOT_KNOWN, id="two may be ours"),
        pytest.param([ROW, ROW | {"protocolo": OTHER}], (OTHER,), FOUND, id="the other is another call's"),
        pytest.param([ROW], (PROTOCOLO,), ABSENT, id="the only one is another call's"),
        pytest.param([OLD | {"data_abertura": "?"}, ROW], (), NOT_KNOWN, id="an unreadable date beside ours"),
        pytest.param([OLD | {"data_abertura": "?"}], (OTHER,), ABSENT, id="unreadable, but another call's"),
        pytest.param(
            [OLD | {"data_abertura": "?", "setor": "SUPORTE"}], (), ABSENT, id="unreadable, another setor"
        ),
    ],
)
async def test_exactly_one_ticket_that_can_be_ours_is_adopted(
    rows: list[object], held: tuple[str, ...], result: str | Absent
) -> None:
    assert await find(listing(*rows), held=held) == result


@pytest.mark.parametrize(
    "protocolo",
    [None, "", "A-12", "1234567", True, 25102715.5, [PROTOCOLO], "2510\n271534", "５２９９８２２４７"],
)
async def test_a_ticket_without_a_protocolo_proves_that_something_was_opened_and_no_more(
    protocolo: object,
) -> None:
    assert await find(listing(ROW | {"protocolo": protocolo})) is NOT_KNOWN
    assert await find(listing(ROW, ROW | {"protocolo": protocolo})) is NOT_KNOWN
    assert await find(listing(ROW, OLD | {"protocolo": protocolo})) == PROTOCOLO


@pytest.mark.parametrize("protocolo", ["52998224725", 52998224725, " 529.982.247-25", "24999998888"])
async def test_the_customers_document_or_contact_is_no_protocolo_and_proves_no_absence(
    protocolo: object,
) -> None:
    sought = replace(SOUGHT, contact=(Personal("+55 24 99999-8888"),))
    changes = {"protocol_pattern": "."}
    assert await find(listing(ROW | {"protocolo": protocolo}), sought=sought, **changes) is NOT_KNOWN


@pytest.mark.parametrize(
    ("body", "declared"), [("latin-1", "ISO-8859-1"), ("latin-1", None), ("utf-8", "ISO-8859-1")]
)
async def test_a_listing_is_read_in_the_charset_it_declares_or_has(body: str, declared: str | None) -> None:
    content_type = "application/json" + (f"; charset={declared}" if declared else "")
    row = json.dumps([ROW], ensure_ascii=False).encode(body)
    assert await find(reply(body=row, Content_Type=content_type)) == PROTOCOLO


async def test_a_setor_in_a_charset_nobody_declared_proves_no_absence() -> None:
    row = json.dumps([ROW], ensure_ascii=False).encode("cp850")
    assert await find(reply(body=row)) is NOT_KNOWN


@pytest.mark.parametrize("written", ["2.510271534789012E15", f'" {PROTOCOLO} "'])
async def test_a_number_counts_by_its_value_and_blanks_around_a_text_do_not(written: str) -> None:
    row = json.dumps(ROW | {"protocolo": "@"}).replace('"@"', written)
    assert await find(reply(body=f"[{row}]".encode())) == PROTOCOLO


@pytest.mark.parametrize("digits", ["12345678", "98765432109876543210"])
async def test_a_protocolo_may_be_a_number_of_any_length(digits: str) -> None:
    row = json.dumps(ROW | {"protocolo": int(digits)})
    assert await find(reply(body=f"[{row}]".encode())) == digits


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"message": "Workflow was started"},
        {"data": []},
        {name: value for name, value in ROW.items() if name != "setor"},
        ROW | {"motivo": None},
        ROW | {"setor": ["LOCAÇÃO"]},
    ],
)
async def test_a_row_of_another_shape_proves_nothing(row: dict[str, object]) -> None:
    assert await find(listing(row)) is NOT_KNOWN


async def test_a_row_that_is_surely_old_does_not_matter_whatever_else_it_lacks() -> None:
    assert await find(listing({"data_abertura": "01/01/2020"})) is ABSENT


# ------------------------------------------------------------------------------------- no answer, or no list


def cut(body: bytes) -> Act:
    return say(b"HTTP/1.1 200 X\r\nContent-Length: 5000\r\n\r\n" + body)


GOOD = json.dumps([ROW]).encode()


@pytest.mark.parametrize(
    "act",
    [
        *(
            pytest.param(reply(status, GOOD), id=str(status))
            for status in (400, 401, 404, 408, 429, 500, 503)
        ),
        pytest.param(reply(302, GOOD, Location="/outro"), id="a redirect"),
        pytest.param(reply(302, GOOD, Location="http://["), id="a redirect to nowhere"),
        pytest.param(say(b"HTTP/1.1 204 X\r\n\r\n"), id="204"),
        pytest.param(reply(body=b""), id="an empty body"),
        pytest.param(reply(body=b"<html>[]</html>"), id="HTML"),
        pytest.param(reply(body=b"[{"), id="broken JSON"),
        pytest.param(reply(body=b'["\xff"]'), id="not UTF-8"),
        pytest.param(reply(body=b"[" * 200_000), id="deep JSON"),
        pytest.param(reply(body=b"[" + b"1" * 5_000 + b"]"), id="an endless number"),
        pytest.param(reply(body=b" " * client.BODY_LIMIT + b"[]"), id="a body without end"),
        pytest.param(reply(body=b"[]", Content_Encoding="gzip"), id="not gzip"),
        *(
            pytest.param(reply(body=json.dumps(found).encode()), id=repr(found)[:20])
            for found in (None, "x", 5, {}, ROW, {"data": [ROW]}, [[]], ["x"], [None], [ROW, 1])
        ),
        pytest.param(reset(), id="reset"),
        pytest.param(say(b""), id="EOF"),
        pytest.param(say(b"lixo\r\n\r\n"), id="no HTTP"),
        pytest.param(cut(GOOD), id="cut short"),
    ],
)
async def test_no_answer_or_a_non_list_is_never_taken_for_absent(act: Act) -> None:
    assert await find(act) is NOT_KNOWN


async def test_a_crm_that_hangs_is_not_waited_for_beyond_the_limit() -> None:
    assert await find(Gate(reply(body=GOOD)), timeout_s=0.1) is NOT_KNOWN


async def test_an_answer_that_trickles_is_limited_as_a_whole() -> None:
    slow = trickle(b"HTTP/1.1 200 X\r\nContent-Length: 2\r\n\r\n[]", 0.05)
    assert await find(slow, timeout_s=0.2) is NOT_KNOWN


async def test_nobody_there_is_not_known() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with looking(f"http://127.0.0.1:{unused.getsockname()[1]}/") as lookup:
            assert await lookup.find(SOUGHT, holding()) is NOT_KNOWN


@pytest.mark.parametrize(
    ("act", "code"),
    [(reply(503, GOOD), "http_503"), (reply(body=b"<html>"), "formato"), (say(b""), "eof")],
)
async def test_a_useless_answer_is_logged_by_its_kind_and_without_a_value(
    act: Act, code: str, tmp_path: Path
) -> None:
    path = logs.setup(directory=tmp_path)
    assert path
    try:
        assert await find(act) is NOT_KNOWN
    finally:
        logs.shutdown()
    (line,) = path.read_text("utf-8").splitlines()
    assert line.endswith(f"a consulta ao CRM não deu resposta útil | code={code}")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
DATES = (
    st.datetimes(timezones=st.none() | st.timezones()).map(datetime.isoformat)
    | st.datetimes().map(lambda at: f"{at:%d/%m}/{at.year:04} {at:%H:%M:%S}")
    | st.dates().map(lambda day: f"{day:%d/%m}/{day.year:04}")
)
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "setor": st.just("LOCAÇÃO") | JSON,
        "motivo": st.just(ROW["motivo"]) | JSON,
        "data_abertura": DATES | JSON,
        "protocolo": st.integers() | st.from_regex(r"\A\d{8,20}\Z") | JSON,
    },
)


@pytest.fixture
async def crm() -> AsyncIterator[RawServer]:
    async with RawServer().running() as server:
        yield server


@pytest.fixture
async def lookup(crm: RawServer) -> AsyncIterator[Lookup]:
    async with looking(crm.url) as lookup:
        yield lookup


@pytest.mark.untraced
@given(answer=JSON | st.lists(ROWS | JSON, max_size=3))
# One server and one client serve all examples: each is told what to answer, and keeps nothing.
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_json_the_crm_answers_is_judged_and_never_raises(
    crm: RawServer, lookup: Lookup, answer: object
) -> None:
    crm.default = reply(body=json.dumps(answer).encode())
    found = await lookup.find(SOUGHT, holding())
    assert isinstance(answer, list) or found is NOT_KNOWN
    if isinstance(found, str):
        assert found in [str(row.get("protocolo")) for row in answer]


@pytest.mark.parametrize("protocolo", [True, False, ["2510271534789012"], {"a": 1}])
async def test_what_is_no_text_and_no_number_is_no_protocolo_whatever_the_pattern(protocolo: object) -> None:
    assert await find(listing(ROW | {"protocolo": protocolo}), protocol_pattern=".") is NOT_KNOWN
