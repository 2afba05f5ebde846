"""The bounds of what may stand in a log line, each where it begins (contract §9)."""

from collections.abc import Iterator

import pytest
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from worker import logs
from worker.log_fields import FIELDS, HASHED_ID, hidden_call_id, hidden_id, hidden_run_id, reduced
from worker.privacy import Hasher, new_index_key


@pytest.fixture(autouse=True)
def _words() -> Iterator[None]:
    words = {"motivo": ["PIX"], "departamento": ["suporte"]}
    logs.setup(words=words)
    yield
    logs.shutdown()


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("motivo", "PIX", "PIX"),
        ("motivo", "BOLETO", None),
        ("departamento", "suporte", "suporte"),
        ("departamento", "vendas", None),
        ("conversation_id", "a123456789", "a123456789"),
        ("conversation_id", "a1234567890", None),
        ("conversation_id", "a12345678901", None),
        ("conversation_id", "123.456.789-0", None),
        ("count", 999_999_999, 999_999_999),
        ("count", 1_000_000_000, None),
        ("count", -1_000_000_000, None),
        ("seconds", 0.12345, 0.123),
        ("host", "h" * 253, "h" * 253),
        ("host", "h" * 254, None),
        ("problem", "palavra " * 60, ("palavra " * 60)[:300]),
        ("problem", "senha 1234 ou a@b", "senha … ou …"),
    ],
)
def test_a_value_is_written_up_to_its_bound_and_no_further(field: str, value: object, shown: object) -> None:
    assert FIELDS[field](value) == shown


@pytest.mark.parametrize(
    "personal",
    [
        *("run_12ABC34501DE35", "call_12abc34501de35", "12.ABC.345/01DE-35", "12.abc.345-01de-35"),
        *("run_52998224725", "chatcmpl-529.982.247-25", "call:529.982.247/25"),
        *("call_+55(24)99713-5826", "(24)99713-5826", "552497135826@c.us", "run_552497135826"),
        *("0552498887777", "024998887777", "maria.silva@provedor.example", "maria%40provedor.example"),
    ],
)
def test_an_id_that_holds_a_document_a_telephone_or_an_address_is_hashed(personal: str) -> None:
    hasher = Hasher(new_index_key())
    logs.setup(hasher=hasher)
    for field, hidden in [
        ("run_id", hidden_run_id),
        ("platform_call_id", hidden_call_id),
        ("conversation_id", hidden_id),
    ]:
        assert FIELDS[field](personal) == hidden(hasher, personal)
        assert HASHED_ID.fullmatch(str(FIELDS[field](personal)))


@pytest.mark.parametrize(
    "random_id",
    [
        *("run_68f0a1b2c3d4e5f60718293a4b5c6d7e", "call_abc123", "call_0", "thread_AbCdEfGhIjKlMnOpQrStUvWx"),
        *("chatcmpl-AbC123dEf456Gh", "sess_20251027153478", "run_1767870000", "run_12ABC34501DE36"),
    ],
)
def test_another_id_of_the_platform_is_written_as_it_is(random_id: str) -> None:
    assert FIELDS["run_id"](random_id) == random_id


@pytest.mark.parametrize("field", ["setor", "motivo", "departamento"])
def test_digits_of_another_script_are_digits(field: str) -> None:
    logs.setup()
    assert FIELDS[field]("SALA ١٢٣") == "SALA ١٢٣"
    assert FIELDS[field]("SALA ١٢٣٤") is None


def nested(levels: int) -> Exception:
    inner: Exception = ValueError()
    for _ in range(levels):
        inner = ExceptionGroup("g", [inner])
    return inner


def test_groups_are_followed_five_levels_deep() -> None:
    assert "ValueError" in reduced(nested(5))
    assert reduced(nested(6)).count("ExceptionGroup") == 6
    assert "ValueError" not in reduced(nested(6))


def test_of_a_group_four_members_are_written() -> None:
    assert reduced(ExceptionGroup("g", [ValueError() for _ in range(9)])).count("ValueError") == 4


def test_of_a_traceback_the_twelve_innermost_frames_are_written() -> None:
    def deeper(levels: int) -> None:
        if levels:
            deeper(levels - 1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        deeper(30)
    assert reduced(caught.value).count("test_log_fields.py") == 12


@pytest.mark.parametrize(
    ("state", "shown"), [("23505", True), ("2350", False), ("235055", False), ("maria", False), (None, False)]
)
def test_an_sqlstate_has_five_characters_of_its_alphabet(state: str | None, shown: bool) -> None:
    error = type("Falhou", (Exception,), {"sqlstate": state})()
    assert ("sqlstate=" in reduced(error)) is shown


def broken(*rules: str) -> ValidationError:
    details = [{"type": PydanticCustomError(rule, "x"), "loc": ("a",), "input": 1} for rule in rules]  # type: ignore[arg-type]
    return ValidationError.from_exception_data("t", details)  # type: ignore[arg-type]


def test_the_rules_that_were_broken_are_words_and_at_most_four() -> None:
    assert "rules=um" in reduced(broken("um"))
    assert "rules" not in reduced(broken("Maria Silva"))
    assert "rules=a,b,c,d " in reduced(broken("e", "d", "c", "b", "a")) + " "
