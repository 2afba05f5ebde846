"""The last resort over free text catches what looks personal, counts it, and leaves everything else alone."""

import ast
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import worker
from tests.system.personal_values import PERSONAL, leaks
from worker import logs, metrics
from worker.logs.lastresort import redacted
from worker.logs.sinks import emit


def counted() -> dict[str, float]:
    return {
        sample.labels["shape"]: sample.value
        for family in metrics.log_redactions.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }


@pytest.fixture(autouse=True)
def _quiet_again() -> Iterator[None]:
    yield
    logs.shutdown()


@pytest.fixture(params=["text", "json"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """The log file so far, in each format; it begins to be written at DEBUG."""
    path = logs.setup(level="DEBUG", fmt=request.param, directory=tmp_path)
    assert path is not None
    return lambda: path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("CPF 529.982.247-25.", "CPF [cpf]."),
        ("cpf52998224725", "cpf[cpf]"),
        ("529 982 247 25", "[cpf]"),
        ("５２９.９８２.２４７-２５", "[cpf]"),
        ("CNPJ 11.222.333/0001-81", "CNPJ [cnpj]"),
        ("(11222333000181)", "([cnpj])"),
        ("12.ABC.345/01DE-35 e 12abc34501de35", "[cnpj] e [cnpj]"),
        ("tel. +55 (24) 99713-5826", "tel. [phone]"),
        ("5524997135826 24997135826", "[phone] [phone]"),
        ("(24) 3232-1234, 99713-5826", "[phone], [phone]"),
        ("de zulmira.b+x@caixa.example!", "de [email]!"),
        ("zulmira%40caixa.example", "[email]"),
        ("pagou R$ 7.391,84", "pagou [amount]"),
        ("pagou R$5", "pagou [amount]"),
        ("deve 7391,84 ou 50 reais", "deve [amount] ou [amount]"),
        ("em https://recibos.example/a?cpf=52998224725 visto", "em [url] visto"),
        ("em www.recibos.example/a", "em [url]"),
        ("em http://zulmira:x@recibos.example", "em [url]"),
    ],
)
def test_what_looks_personal_is_replaced_and_counted_by_its_shape(said: str, shown: str) -> None:
    before = counted()
    assert redacted(said) == shown
    caught = re.findall(r"\[(\w+)\]", shown)
    after = {shape: count + caught.count(shape) for shape, count in before.items()}
    assert counted() == after


@pytest.mark.parametrize(
    "said",
    [
        "52998224726",
        "529.982.247-26",
        "11.222.333/0001-82",
        "12ABC34501DE36",
        "Protocolo: 2510271534789012",
        "2026-11-22T10:00:00.123-03:00 levou 0.103 s",
        "run_68f2c1a9b7d04e5f8a3b6c9d0e1f2a3b",
        "tc_01hx9z7k3m5q8r2t4v6w8y0a1b",
        "resp_0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "2025-2026",
        "HTTP 503 em 412 ms, tentativa 2 de 3",
        "httpx/_client.py:1629 AsyncClient.send > httpcore/_async/connection.py:103 connect",
        "SQLITE_BUSY errno=11 port=8080",
        "",
    ],
)
def test_what_only_looks_like_it_stays(said: str) -> None:
    before = counted()
    assert redacted(said) == said
    assert counted() == before


@given(st.text())
@settings(deadline=None, derandomize=True, max_examples=300)
def test_a_text_that_was_filtered_holds_nothing_more_to_filter(said: str) -> None:
    once = redacted(said)
    assert redacted(once) == once


def test_a_personal_text_of_every_shape_shows_its_name_at_most() -> None:
    assert leaks(redacted(PERSONAL)) <= {"zulmira", "quaresma", "braganca", "separacao judicial"}


def test_a_megabyte_of_anything_is_through_in_no_time() -> None:
    for text in (
        "a" * 1_000_000,
        "1" * 1_000_000,
        "1," * 500_000,
        "a." * 500_000,
        "@" * 1_000_000,
        "1.111" * 200_000,
    ):
        redacted(f"22 {text}")  # the suite's timeout judges: a square of this would take an hour


# ---------------------------------------------------------------------------------------- in the log


def test_a_message_made_of_values_loses_them(written: Callable[[], str]) -> None:
    before = counted()["cpf"]
    logs.event(f"cliente 529.982.247-25 {'{protocolo}'}", level="WARNING", protocolo="52998224725")  # type: ignore[arg-type]
    assert "cliente [cpf] 52998224725" in written()
    assert counted()["cpf"] == before + 1


def test_an_exceptions_text_loses_them_even_in_its_class(written: Callable[[], str]) -> None:
    logs.failure("falhou", type("Erro_52998224725", (Exception,), {})())
    assert "error=Erro_[cpf]" in written() or '"error": "Erro_[cpf]' in written()


def test_fields_never_pass_it(written: Callable[[], str]) -> None:
    """Each has its own rule: a protocolo may have a document's check digits, an address is our own."""
    before = counted()
    logs.event("▶ ticket-worker {version} atende em {url}", version="1.0.0", url="http://127.0.0.1:8080")
    logs.ticket_reused("52998224725", "conv-1")
    emit("INFO", "{nome} fica", {"count": 5})
    assert "atende em http://127.0.0.1:8080" in written()
    assert "protocolo=52998224725" in written()
    assert "{nome} fica" in written()
    assert counted() == before


def test_a_logger_named_after_a_customer_is_not_named(written: Callable[[], str]) -> None:
    logging.getLogger("cliente.52998224725").warning("a %s", 1)
    logging.getLogger("Maria da Silva").warning("b %s", 1)
    assert "-: a %s" in written()
    assert "-: b %s" in written()
    assert "52998224725" not in written()
    assert "Maria" not in written()


# ----------------------------------------------------------------------------- what we say ourselves


def constants() -> Iterator[tuple[str, str]]:
    """Every text of the package that is given to a function of `logs`."""
    for path in Path(worker.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in {
                *("event", "failure", "crashed", "emit", "log"),
            }:
                for each in node.args:
                    if isinstance(each, ast.Constant) and isinstance(each.value, str):
                        yield f"{path.name}:{node.lineno}", each.value


def test_no_line_of_ours_is_touched() -> None:
    before = counted()
    found = dict(constants())
    assert len(found) > 25
    assert {where: text for where, text in found.items() if redacted(text) != text} == {}
    assert counted() == before


def test_the_count_is_shown_at_zero_for_every_shape() -> None:
    shown = metrics.exposition().decode()
    for shape in ("cpf", "cnpj", "phone", "email", "amount", "url"):
        assert f'ticket_worker_log_redactions_total{{shape="{shape}"}}' in shown
