"""Logs: the lines of contract §9 to the letter, and nothing personal in any sink, whatever happens."""

import ast
import asyncio
import gc
import json
import logging
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import worker
from worker import logs
from worker.errors import ConfigError, InvalidSetor, PlatformRefused
from worker.log_fields import FIELDS, reduced
from worker.logs import sinks
from worker.logs.sinks import forget_repetitions
from worker.model import RunState
from worker.personal import Personal
from worker.privacy import Hasher

MARKS = (
    "Maria da Silva",
    "529.982.247-25",
    "52998224725",
    "R$ 150,00",
    "24999998888",
    "comprovantes.example",
)
PERSONAL = " ".join(MARKS)
STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d"


@pytest.fixture(autouse=True)
def _quiet_again() -> Iterator[None]:
    yield
    logs.shutdown()
    sinks._Outage.quiet_until = 0.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "logs"


@pytest.fixture
def written(folder: Path) -> Callable[[], list[str]]:
    """The messages of the log file so far; begins to log at DEBUG."""
    path = logs.setup(level="DEBUG", directory=folder, hasher=Hasher(bytes(32)))
    assert path is not None

    def read() -> list[str]:
        lines = path.read_text(encoding="utf-8").splitlines()
        return [re.sub(rf"^{STAMP} [A-Z]+ +", "", line) for line in lines]

    return read


def our_handler() -> logging.Handler:
    """The root handler that `setup` installed, beside those of pytest."""
    (ours,) = (each for each in logging.root.handlers if type(each).__module__ == "worker.logs.foreign")
    return ours


def assert_nothing_personal(*texts: str) -> None:
    for text in texts:
        for mark in (*MARKS, "Silva", "529.", ".982", "150,00"):
            assert mark not in re.sub(STAMP, "", text)


def raised(error: BaseException) -> BaseException:
    """The error with a traceback whose frames hold personal locals."""
    customer = PERSONAL
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001  # whatever was given is what is raised
        assert customer
        return caught


# ---------------------------------------------------------------------------------- the contract's lines


def test_the_lines_of_a_ticket_are_the_contracts(written: Callable[[], list[str]]) -> None:
    logs.ticket_started()
    logs.conversation_found(True)
    logs.conversation_found(False)
    logs.calling_crm("FINANCEIRO", "INFORMAR PAGAMENTO")
    logs.ticket_opened("2510271534789012", "FINANCEIRO", "INFORMAR PAGAMENTO", "conversa-1", 412.4)
    logs.ticket_error("setor_invalido", None, "conversa-1")
    logs.ticket_reused("2510271534789012", "conversa-1")
    logs.ticket_reused(None, "5524999998888")
    hashed = Hasher(bytes(32)).digest("log.conv", "5524999998888")[:10]
    assert written() == [
        "🎫 [AI Tool Handler] Iniciando abertura de ticket",
        "🎫 [AI Tool Handler] Conversa encontrada. clientDocument: SIM",
        "🎫 [AI Tool Handler] Conversa encontrada. clientDocument: NÃO",
        '🎫 [AI Tool Handler] Chamando abrirTicketCRM... setor=FINANCEIRO motivo="INFORMAR PAGAMENTO"',
        "✅ [AI Tool Handler] Ticket aberto com sucesso - Protocolo: 2510271534789012",
        '🎫 [AI Tool Handler] Ticket aberto com sucesso | setor=FINANCEIRO motivo="INFORMAR PAGAMENTO" '
        "conversationId=conversa-1 duration_ms=412",
        "❌ [AI Tool Handler] Erro ao abrir ticket | code=setor_invalido setor=- conversationId=conversa-1",
        "♻️ [AI Tool Handler] Ticket reaproveitado | protocolo=2510271534789012 conversationId=conversa-1",
        f"♻️ [AI Tool Handler] Ticket reaproveitado | protocolo=- conversationId=conv-{hashed}",
    ]


def test_the_lines_of_a_ticket_have_the_ids_of_run_and_call_as_json_fields_only(folder: Path) -> None:
    ids = {"run_id": "run_A1", "call_id": "tc_1", "platform_call_id": "call_B2"}
    path = logs.setup(directory=folder, fmt="json")
    assert path is not None
    logs.ticket_started(**ids)
    logs.conversation_found(True, **ids)
    logs.calling_crm("SUPORTE", "LENTIDÃO", **ids)
    logs.ticket_opened("12345678", "SUPORTE", "LENTIDÃO", "c", 1, **ids)
    logs.ticket_error("crm_recusou", "SUPORTE", "c", **ids)
    logs.ticket_reused("12345678", "c", **ids)
    logs.shutdown()
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(lines) == 7
    assert all(line.items() >= ids.items() for line in lines)
    assert not any("run_A1" in line["message"] for line in lines)


def test_the_text_of_a_tickets_lines_has_no_ids_of_run_and_call(written: Callable[[], list[str]]) -> None:
    logs.ticket_error("crm_recusou", "SUPORTE", "c", run_id="run_A1", call_id="tc_1")
    (line,) = written()
    assert line.endswith("code=crm_recusou setor=SUPORTE conversationId=c")


@pytest.mark.parametrize("fmt", ["text", "json"])
def test_the_missions_greps_give_one_line_a_ticket(folder: Path, fmt: str) -> None:
    path = logs.setup(directory=folder, fmt=fmt)
    logs.calling_crm("SUPORTE", "LENTIDÃO")
    logs.ticket_opened("12345678", "SUPORTE", "LENTIDÃO", "c", 1)
    logs.ticket_error("crm_recusou", "SUPORTE", "c")
    for pattern in (
        r"🎫 \[AI Tool Handler\] Ticket aberto com sucesso",
        r"❌ \[AI Tool Handler\] Erro ao abrir ticket",
        "Chamando abrirTicketCRM",
    ):
        grep = subprocess.run(["grep", "-c", pattern, path], capture_output=True, check=False)
        assert grep.stdout == b"1\n"


def test_text_lines_carry_time_with_offset_and_level(written, folder: Path) -> None:
    logs.event("um aviso", level="WARNING", count=3, call_id="tc_1")
    line = (folder / "worker.log").read_text(encoding="utf-8")
    assert re.fullmatch(rf"{STAMP} WARNING  um aviso \| count=3 call_id=tc_1\n", line)


def test_json_lines_carry_the_fields_by_name(folder: Path) -> None:
    path = logs.setup(fmt="json", directory=folder)
    logs.event("{setor} em {seconds} s", setor="LOCAÇÃO", seconds=1.23456, code="Não é código")
    line = path.read_text(encoding="utf-8")
    assert "LOCAÇÃO" in line
    found = json.loads(line)
    assert re.fullmatch(STAMP, found.pop("time"))
    assert found == {
        "level": "INFO",
        "message": "LOCAÇÃO em 1.235 s",
        "setor": "LOCAÇÃO",
        "seconds": 1.235,
        "code": None,
    }


def test_the_level_is_a_floor(folder: Path) -> None:
    path = logs.setup(level="WARNING", directory=folder)
    logs.event("não")
    logs.event("sim", level="ERROR")
    assert path.read_text().count("\n") == 1


# ----------------------------------------------------------------------------------------------- fields


def test_an_unknown_field_is_a_programming_error() -> None:
    with pytest.raises(TypeError, match="not a log field: resumo"):
        logs.event("x", resumo="y")
    with pytest.raises(TypeError, match="not given: setor"):
        logs.event("{setor}")


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("protocolo", "TCK-2025/000123", "TCK-2025/000123"),
        ("protocolo", "com espaço", None),
        ("protocolo", 12345678, None),
        ("setor", "COBRANÇA", "COBRANÇA"),
        ("motivo", "RENEGOCIAÇÃO / ACORDO", "RENEGOCIAÇÃO / ACORDO"),
        ("motivo", "2.VIA BOLETO", "2.VIA BOLETO"),
        ("motivo", "conta 5299", None),
        ("motivo", 'X" y="', None),
        ("departamento", "suporte geral", "suporte geral"),
        ("tool", "abrir_ticket_crm", "abrir_ticket_crm"),
        ("tool", "abrir ticket", None),
        ("tool", "consulta_52998224725", None),
        ("conversation_id", "conv:1@x~+.-_", "conv:1@x~+.-_"),
        ("conversation_id", "123456789", "123456789"),
        ("run_id", "run_abc123", "run_abc123"),
        ("call_id", "tc_0a1B", "tc_0a1B"),
        ("call_id", "tc 1", None),
        ("code", "http_503", "http_503"),
        ("code", "SQLITE_BUSY", "SQLITE_BUSY"),
        ("code", "Maria", None),
        ("code", "p_5299", None),
        ("status", 503, 503),
        ("state", RunState.LOST, "lost"),
        ("reason", None, None),
        ("attempt", 2, 2),
        ("attempt", True, None),
        ("attempt", "2", None),
        ("count", 52998224725, None),
        ("count", 10**400, None),
        ("seconds", float("nan"), None),
        ("seconds", float("inf"), None),
        ("seconds", 0.25, 0.25),
        ("duration_ms", 12.6, 13),
        ("duration_ms", 12, 12),
        ("duration_ms", None, None),
        ("host", "127.0.0.1", "127.0.0.1"),
        ("url", "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("url", "http://[::1]:8080", "http://[::1]:8080"),
        ("url", "https://comprovantes.example/recibo", None),
        ("version", "0.1.0", "0.1.0"),
        ("name", "asst_suporte", "asst_suporte"),
        ("problem", "veja https://a.b/c, CPF 52998224725 de a@b.c", "veja … CPF … de …"),
        ("problem", "HTTP 404 em LOG_DIR", "HTTP 404 em LOG_DIR"),
        ("problem", 5, None),
        ("setor", Personal("SUPORTE"), None),
    ],
)
def test_a_field_is_shown_only_as_it_should_look(field: str, value: object, shown: object) -> None:
    assert FIELDS[field](value) == shown


@pytest.mark.parametrize("field", ["run_id", "platform_call_id"])
@pytest.mark.parametrize(
    "value",
    ["run_6841937205516283", "call_1761590040250", "thread_11111111111", "resp_0a1b84173920562c", "aç1"],
)
def test_an_id_of_the_platform_is_in_clear_unless_it_is_a_document_or_a_telephone(
    field: str, value: str
) -> None:
    assert FIELDS[field](value) == (value if value.isascii() else None)


def test_lines_tell_the_time_in_the_operators_zone_with_its_offset(folder: Path) -> None:
    for fmt in ("text", "json"):
        path = logs.setup(directory=folder, fmt=fmt, zone=ZoneInfo("America/Noronha"))
        assert path is not None
        logs.event("agora")
        logs.shutdown()
        line = path.read_text(encoding="utf-8").splitlines()[-1]
        told = json.loads(line)["time"] if fmt == "json" else line.split(" ", 1)[0]
        moment = datetime.fromisoformat(told)
        assert told.endswith("-02:00")
        assert abs(moment.timestamp() - time.time()) < 60


@pytest.mark.parametrize("field", ["conversation_id", "run_id"])
@pytest.mark.parametrize(
    "value",
    [
        "5524999998888",
        "wa-5524999998888@s.whatsapp.net",
        "529.982.247-25",
        "+55-24-99999-8888",
        "12ABC34501DE35",
        "maria@example.com",
        "maria da silva",
        "conversa\nfalsa",
        "\ud800",
        "x" * 200,
    ],
)
def test_an_id_that_may_be_personal_is_hashed_and_hidden_without_a_hasher(field: str, value: str) -> None:
    assert FIELDS[field](value) is None
    logs.use_hasher(Hasher(bytes(32)))
    shown = FIELDS[field](value)
    assert re.fullmatch(r"(conv|run)-[0-9a-f]{10}", str(shown))
    assert shown == FIELDS[field](value)


def test_an_id_that_is_no_text_is_not_shown() -> None:
    assert FIELDS["conversation_id"](5) is None


def test_given_vocabularies_are_closed(folder: Path) -> None:
    logs.setup(words={"setor": {"SUPORTE"}, "tool": ("abrir_ticket_crm",)})
    assert [FIELDS["setor"](word) for word in ("SUPORTE", "MARIA", ["SUPORTE"])] == ["SUPORTE", None, None]
    assert FIELDS["tool"]("apagar_maria") is None
    assert FIELDS["motivo"]("LENTIDÃO") == "LENTIDÃO"


def test_a_word_of_the_vocabulary_is_shown_whatever_its_signs(folder: Path) -> None:
    logs.setup(words={"motivo": {"PODA (ÁRVORE) & GALHOS"}})
    assert FIELDS["motivo"]("PODA (ÁRVORE) & GALHOS") == "PODA (ÁRVORE) & GALHOS"
    assert FIELDS["motivo"]("PODA (MARIA)") is None


ANY_VALUE = st.text() | st.sampled_from(["a\nb", "a\r\u2028\u0085\x1cb", "\ud800", "{x}", "<red>", 'a" b="'])
ANY_FIELDS = st.dictionaries(st.sampled_from(sorted(FIELDS)), ANY_VALUE | st.integers() | st.floats())


@pytest.fixture(params=["text", "json"])
def sink(request: pytest.FixtureRequest, folder: Path) -> Path:
    """A log file of each format."""
    return logs.setup(fmt=request.param, directory=folder, hasher=Hasher(bytes(32)))


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=ANY_FIELDS, text=ANY_VALUE)
def test_any_value_in_any_field_makes_exactly_one_line(sink: Path, fields: dict, text: str) -> None:
    before = sink.stat().st_size
    forget_repetitions()
    logs.event("{setor} e {problem}", **{"setor": text, "problem": text, **fields})
    logs.failure("falhou", ValueError(text), **fields)
    our_handler().handle(logging.LogRecord(text, 40, text, 1, text, (text,), None))
    added = sink.read_bytes()[before:].decode()
    assert added.count("\n") == len(added.splitlines()) == 3
    if added.startswith("{"):
        assert all(json.loads(line)["level"] for line in added.splitlines())


# ------------------------------------------------------------------------------------------- exceptions


def test_an_exception_is_reduced_to_class_codes_frames_and_causes() -> None:
    def fail() -> None:
        try:
            raise OSError(28, PERSONAL)
        except OSError as error:
            raise PlatformRefused(401, "invalid_api_key") from error

    try:
        fail()
    except PlatformRefused as error:
        text = reduced(error)
    frame = r"logs/test_logs\.py:\d+ \S+"
    assert re.fullmatch(
        rf"PlatformRefused status=401 code=invalid_api_key \[{frame} > {frame}fail\] "
        rf"<- OSError errno=28 \[{frame}fail\]",
        text,
    )


def test_the_members_of_a_group_are_logged_by_class() -> None:
    text = reduced(ExceptionGroup(PERSONAL, [ValueError(PERSONAL), InvalidSetor(_texto=PERSONAL)]))
    assert text == "ExceptionGroup (ValueError; InvalidSetor code=setor_invalido)"


def test_a_suppressed_context_is_left_out_and_a_circle_ends() -> None:
    error = ValueError()
    error.__context__ = KeyError()
    assert reduced(error) == "ValueError <- KeyError"
    error.__suppress_context__ = True
    assert reduced(error) == "ValueError"
    error.__cause__ = error
    assert reduced(error).count("ValueError") == 6


def test_a_code_that_is_text_for_people_is_no_code() -> None:
    class Odd(Exception):
        code = "Maria da Silva"
        errno = 52998224725

        @property
        def status(self) -> int:
            raise RuntimeError(PERSONAL)

    assert reduced(Odd()) == "Odd"
    assert reduced(SystemExit("maria")) == "SystemExit"


def personal_exceptions() -> list[BaseException]:
    noted = KeyError(PERSONAL)
    noted.add_note(PERSONAL)
    caused = RuntimeError(PERSONAL)
    caused.__cause__ = raised(ValueError(PERSONAL))
    implied = TypeError(PERSONAL)
    implied.__context__ = raised(noted)
    grouped = BaseExceptionGroup(
        PERSONAL, [raised(caused), SystemExit(PERSONAL), OSError(5, PERSONAL, PERSONAL)]
    )
    decoded = UnicodeDecodeError("utf-8", PERSONAL.encode(), 0, 1, PERSONAL)
    return [
        raised(each) for each in (noted, caused, implied, grouped, decoded, ExceptionGroup(PERSONAL, [noted]))
    ]


@pytest.mark.parametrize("fmt", ["text", "json"])
def test_no_value_of_an_exception_reaches_a_sink(
    folder: Path, capfd: pytest.CaptureFixture, fmt: str
) -> None:
    path = logs.setup(level="TRACE", fmt=fmt, directory=folder)
    for error in personal_exceptions():
        logs.failure("falhou", error, conversation_id=PERSONAL, code=PERSONAL, problem="Olá")
        logging.getLogger("x").error("y", exc_info=error)
        logs.loop_exception_handler(None, {"message": PERSONAL, "exception": error})
        sys.excepthook(type(error), error, error.__traceback__)
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") == 4 * len(personal_exceptions())
    assert "KeyError" in text
    assert_nothing_personal(text, *capfd.readouterr())


# -------------------------------------------------------------------------------------- foreign loggers

LOUD = [
    "httpx",
    "httpx2",
    "openai",
    "aiohttp.client",
    "sqlalchemy.engine",
    "asyncio",
    "backoff",
    "uvicorn.error",
]


def test_foreign_loggers_give_name_level_template_and_place_but_no_argument(written, capfd, caplog) -> None:
    for name in LOUD:
        caplog.set_level(logging.DEBUG, name)  # some keep themselves to less
        logger = logging.getLogger(name)
        logger.debug("HTTP Request: %s %s", PERSONAL, "GET")
        logger.info(f"cliente {PERSONAL}")  # noqa: G004  # the very mistake that is guarded against
        logger.warning(f"cliente {PERSONAL} %s", "x")  # noqa: G004  # as above
        logger.error("dicionário %(nome)s", {"nome": PERSONAL})
        logger.critical(ValueError(PERSONAL))
    lines = written()
    assert len(lines) == 5 * len(LOUD)
    assert re.fullmatch(r"httpx: HTTP Request: %s %s \| where=logs/test_logs\.py:\d+", lines[0])
    assert re.fullmatch(r"httpx: \(mensagem omitida\) \| where=logs/test_logs\.py:\d+", lines[1])
    assert lines[2].startswith("httpx: (mensagem omitida)")
    assert lines[3].startswith("httpx: dicionário %(nome)s | where=")
    assert_nothing_personal(*lines, *capfd.readouterr())


@pytest.mark.parametrize(("level", "lines"), [("DEBUG", 3), ("INFO", 1), ("ERROR", 0)])
def test_foreign_chatter_is_kept_to_warnings_unless_debugging(folder: Path, level: str, lines: int) -> None:
    path = logs.setup(level=level, directory=folder)
    logger = logging.getLogger("openai")
    logger.setLevel(logging.DEBUG)  # as OPENAI_LOG=debug does
    logger.debug("a %s", 1)
    logger.info("b %s", 1)
    logger.warning("c %s", 1)
    logger.setLevel(logging.NOTSET)
    assert path.read_text().count("\n") == lines


def test_unusual_levels_are_rounded_down(written, folder: Path) -> None:
    logging.getLogger("x").log(35, "a %s", 1)
    logging.getLogger("x").log(15, "b %s", 1)
    text = (folder / "worker.log").read_text()
    assert [line.split()[1] for line in text.splitlines()] == ["WARNING", "DEBUG"]


def test_handlers_that_others_installed_are_taken_away(capfd: pytest.CaptureFixture) -> None:
    logger = logging.getLogger("sqlalchemy.pool.chatty")
    logger.addHandler(logging.StreamHandler())
    logger.propagate = False
    logs.setup()
    logger.warning("cliente %s", PERSONAL)
    logging.getLogger("uvicorn.access").warning("GET %s", PERSONAL)
    out, err = capfd.readouterr()
    assert err.count("\n") == 1
    assert_nothing_personal(out, err)


def test_a_relayed_record_shows_no_template_because_its_code_is_not_at_hand(written) -> None:
    record = logging.LogRecord("far", logging.ERROR, "/x/y/z.py", 7, PERSONAL + " %s", (1,), None)
    logging.getLogger().handle(record)
    assert written() == ["far: (mensagem omitida) | where=y/z.py:7"]


def test_an_object_logged_with_arguments_is_no_template(written) -> None:
    ours = our_handler()
    here = sys._getframe()
    for odd in (ValueError(PERSONAL), "literal %s"):
        ours.handle(logging.LogRecord("x", 40, here.f_code.co_filename, here.f_lineno, odd, (1,), True))
    refused, taken = written()
    assert refused.startswith("x: (mensagem omitida)")
    assert taken.startswith("x: literal %s")


# ------------------------------------------------------------------------------------ crashes, warnings


def test_a_warning_gives_its_class_and_place(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        path = logs.setup(directory=folder)
        warnings.warn(PERSONAL, UserWarning, stacklevel=1)
        logs.shutdown()
    assert re.fullmatch(
        rf"{STAMP} WARNING  Aviso de uma biblioteca: UserWarning \| where=logs/test_logs\.py:\d+\n",
        path.read_text(),
    )


def test_a_thread_that_dies_is_logged_and_one_that_exits_is_not(written) -> None:
    for error in (RuntimeError(PERSONAL), SystemExit(PERSONAL)):
        thread = threading.Thread(target=raised_in_thread, args=(error,))
        thread.start()
        thread.join()
    (line,) = written()
    assert line.startswith("Uma thread terminou por um erro não tratado | error=RuntimeError [")
    assert_nothing_personal(line)


def raised_in_thread(error: BaseException) -> None:
    raise error


def test_an_error_in_a_finalizer_is_logged(written) -> None:
    class Fragile:
        def __del__(self) -> None:
            raise RuntimeError(PERSONAL)

    Fragile()
    gc.collect()
    (line,) = written()
    assert line.startswith("Erro durante uma finalização | error=RuntimeError [")
    assert_nothing_personal(line)


async def test_the_loop_handler_logs_a_forgotten_task(written) -> None:
    async def fail() -> None:
        raise RuntimeError(PERSONAL)

    asyncio.get_running_loop().set_exception_handler(logs.loop_exception_handler)
    task = asyncio.ensure_future(fail())
    await asyncio.wait([task])
    del task
    gc.collect()
    logs.loop_exception_handler(asyncio.get_running_loop(), {"message": PERSONAL})
    told, without = (line for line in written() if "Using selector" not in line)
    assert told.startswith("Erro não tratado no laço asyncio | error=RuntimeError [")
    assert without == "Erro não tratado no laço asyncio"
    assert_nothing_personal(told)


def test_shutdown_gives_back_what_was_taken_over(folder: Path) -> None:
    before = (
        sys.excepthook,
        threading.excepthook,
        warnings.showwarning,
        sys.unraisablehook,
        logging.root.handlers,
    )
    logs.setup(directory=folder)
    assert sys.excepthook is not before[0]
    logs.shutdown()
    logs.shutdown()
    assert before == (
        sys.excepthook,
        threading.excepthook,
        warnings.showwarning,
        sys.unraisablehook,
        logging.root.handlers,
    )


# ------------------------------------------------------------------------------------------------- sinks


def test_before_setup_and_after_shutdown_events_go_to_stderr(folder: Path, capsys) -> None:
    logs.event("antes")
    path = logs.setup(directory=folder)
    logs.event("durante")
    logs.shutdown()
    logs.event("depois")
    assert [line.split()[-1] for line in capsys.readouterr().err.splitlines()] == [
        "antes",
        "durante",
        "depois",
    ]
    assert path.read_text().count("\n") == 1


def test_with_no_folder_there_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert logs.setup() is None
    logs.event("x")
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_private_whatever_the_umask_and_whatever_it_was(folder: Path) -> None:
    folder.mkdir()
    (folder / "worker.log").touch(0o666)
    (folder / "worker.log").chmod(0o666)
    before = os.umask(0)
    try:
        path = logs.setup(directory=folder)
    finally:
        os.umask(before)
    assert path == folder / "worker.log"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_device_in_the_place_of_the_file_keeps_its_mode(folder: Path) -> None:
    folder.mkdir()
    master, slave = os.openpty()
    (folder / "worker.log").symlink_to(os.ttyname(slave))
    os.fchmod(slave, 0o666)
    logs.setup(directory=folder)
    assert os.fstat(slave).st_mode & 0o777 == 0o666
    logs.shutdown()
    os.close(slave)
    os.close(master)


def test_a_full_file_is_rotated_and_fourteen_old_ones_are_kept(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(sinks, "_ROTATE_BYTES", 200)
    path = logs.setup(directory=folder / "{com} chaves")
    for count in range(60):
        logs.event("uma linha ção", count=count)
    files = sorted((folder / "{com} chaves").glob("*.log"), key=lambda file: file.stat().st_mtime_ns)
    assert len(files) == 15
    assert path in files
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in files)
    assert all(0 < file.stat().st_size <= 200 for file in files)
    assert path.read_text().endswith("count=59\n")


def test_a_new_day_begins_a_new_file(folder: Path) -> None:
    path = logs.setup(directory=folder)
    logs.event("ontem")
    yesterday = time.time() - 86_400
    os.utime(path, (yesterday, yesterday))
    logs.event("hoje")
    assert path.read_text().endswith("hoje\n")
    assert len(list(folder.glob("*.log"))) == 2


def test_a_file_that_was_moved_away_is_created_again(folder: Path) -> None:
    path = logs.setup(directory=folder)
    path.rename(folder / "levado.txt")
    logs.event("x")
    assert path.read_text().endswith("x\n")


def test_a_folder_that_cannot_be_written_is_a_configuration_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="LOG_DIR não pode ser usado"):
        logs.setup(directory=tmp_path / "file" / "logs")
    assert sys.excepthook is sys.__excepthook__ or "worker.logs" not in sys.excepthook.__module__


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the full file cannot be closed
def test_a_sink_that_fails_stops_nothing_and_is_reported_once_without_values(folder: Path, capsys) -> None:
    folder.mkdir()
    (folder / "worker.log").symlink_to("/dev/full")
    logs.setup(directory=folder)
    for number in range(3):
        logs.failure("falhou", raised(ValueError(PERSONAL)), attempt=number)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert (
        "O arquivo de log não pôde ser escrito; enquanto isso, só stderr | error=OSError errno=28 ["
        in lines[1]
    )
    assert_nothing_personal(*lines)


@pytest.mark.parametrize("stream", [None, "closed"])
def test_without_a_usable_stderr_the_file_is_written_all_the_same(folder: Path, monkeypatch, stream) -> None:
    if stream == "closed":
        stream = open(os.devnull, "w")  # noqa: PTH123, SIM115  # a text stream, and already closed
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    path = logs.setup(directory=folder)
    logs.event("x")
    assert path.read_text().endswith("x\n")


def test_files_of_second_processes_do_not_pile_up(folder: Path) -> None:
    folder.mkdir()
    for pid in range(20):
        (folder / f"worker-{pid}.log").touch()
        os.utime(folder / f"worker-{pid}.log", (pid, pid))
    logs.setup(directory=folder)
    assert {file.name for file in folder.glob("worker-*.log")} == {
        f"worker-{pid}.log" for pid in range(6, 20)
    }


# ----------------------------------------------------------------------------------------- own processes


def run(script: str, *arguments: object, **environ: str) -> subprocess.CompletedProcess[bytes]:
    source = str(Path(worker.__file__).parents[1])
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": source, **environ},
    )


def test_a_second_process_on_the_folder_has_a_file_of_its_own(folder: Path, written) -> None:
    logs.event("primeiro")
    done = run(
        """
        import os, sys, pathlib
        from worker import logs
        path = logs.setup(directory=pathlib.Path(sys.argv[1]))
        assert path.name == f"worker-{os.getpid()}.log", path
        logs.event("segundo")
        """,
        folder,
    )
    assert (done.returncode, done.stderr.count(b"\n")) == (0, 1)
    (other,) = folder.glob("worker-*.log")
    assert other.read_text().endswith("segundo\n")
    assert other.stat().st_mode & 0o777 == 0o600
    assert written() == ["primeiro"]


def test_an_ascii_locale_changes_nothing(folder: Path) -> None:
    done = run(
        """
        import sys, pathlib
        from worker import logs
        assert sys.stderr.encoding.lower() != "utf-8", sys.stderr.encoding
        logs.setup(directory=pathlib.Path(sys.argv[1]))
        logs.ticket_reused("12345678", "c")
        logs.calling_crm("COBRAN\\u00c7A", "RENEGOCIA\\u00c7\\u00c3O / ACORDO")
        """,
        folder,
        LC_ALL="C",
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
    )
    assert done.returncode == 0, done.stderr
    for sink in (done.stderr, (folder / "worker.log").read_bytes()):
        assert "♻️ [AI Tool Handler]" in sink.decode()
        assert 'setor=COBRANÇA motivo="RENEGOCIAÇÃO / ACORDO"' in sink.decode()


def test_a_crash_prints_no_value_and_is_the_last_line(folder: Path) -> None:
    done = run(
        """
        import sys, pathlib
        from worker import logs
        logs.setup(directory=pathlib.Path(sys.argv[1]))
        cliente = sys.argv[2]
        raise RuntimeError(cliente)
        """,
        folder,
        PERSONAL,
    )
    text = (folder / "worker.log").read_text(encoding="utf-8")
    assert done.returncode == 1
    assert text == done.stderr.decode()
    assert re.fullmatch(
        rf"{STAMP} CRITICAL O processo termina por um erro não tratado \| "
        r"error=RuntimeError \[<string>:6 <module>\]\n",
        text,
    )


def test_a_full_disk_is_a_configuration_error_at_start(folder: Path) -> None:
    done = run(
        """
        import pathlib, resource, sys
        from worker import logs
        from worker.errors import ConfigError
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            logs.setup(directory=pathlib.Path(sys.argv[1]))
        except ConfigError as error:
            sys.stdout.buffer.write(str(error).encode())
        """,
        folder,
        COVERAGE_PROCESS_START="",
        COVERAGE_PROCESS_CONFIG="",
    )
    assert done.stdout.decode().startswith("LOG_DIR não pode ser usado (")


def test_a_disk_that_fills_up_does_not_break_the_end(folder: Path) -> None:
    done = run(
        """
        import pathlib, resource, sys
        from worker import logs
        logs.setup(directory=pathlib.Path(sys.argv[1]))
        logs.event("cabe")
        resource.setrlimit(resource.RLIMIT_FSIZE, (80, 80))
        for count in range(3):
            logs.event("não cabe mais", count=count)
        """,
        folder,
        COVERAGE_PROCESS_START="",
        COVERAGE_PROCESS_CONFIG="",
    )
    assert done.returncode == 0
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 5
    assert "error=OSError errno=27" in lines[2]


# -------------------------------------------------------------------------------------------- the package

SOURCES = sorted(Path(worker.__file__).parent.rglob("*.py"))
OWN = Path(logs.__file__).parent


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            owner = node.func.value
            if isinstance(owner, ast.Name) and owner.id == "logs" and node.func.attr in {"event", "failure"}:
                yield f"{path.name}:{node.lineno}", node


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if OWN not in path.parents], ids=lambda path: path.name
)
def test_every_log_line_of_the_package_is_a_constant_with_known_fields(path: Path) -> None:
    for where, call in calls(path):
        message = call.args[0]
        assert isinstance(message, ast.Constant), f"{where}: the message is not a literal"
        assert str(message.value).isprintable(), where
        given = {keyword.arg for keyword in call.keywords} - {"level", "throttled"}
        assert given <= FIELDS.keys(), f"{where}: not a log field"
        assert set(re.findall(r"\{(\w+)\}", str(message.value))) <= given, f"{where}: a place without a field"


@pytest.mark.parametrize(
    "path", [path for path in SOURCES if OWN not in path.parents], ids=lambda path: path.name
)
def test_nothing_else_in_the_package_logs_by_other_means(path: Path) -> None:
    inner = {f"worker.logs.{name}" for name in ("event", "failure", "sinks", "foreign", "allowed")}
    assert not imports(path) & {"loguru", *inner}
