"""What the model wrote is read without surprises."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.errors import InvalidArguments, MissingParameters
from worker.personal import Personal
from worker.tools.arguments import parse, read, require

NAMES = ("resumo", "setor")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(NAMES), inner),
)


def read_text(text: str) -> dict[str, str]:
    return read(Personal(text), NAMES)


# --------------------------------------------------------------------------------------------- parsing


def test_numbers_are_read_as_what_they_are() -> None:
    found = parse(Personal('{"a": 12345678901234567890, "b": 10.0, "c": -7}'))
    assert found == {"a": 12345678901234567890, "b": 10.0, "c": -7}
    assert [type(value) for value in found.values()] == [int, float, int]


@pytest.mark.parametrize("length", [999, 1000, 5000])
def test_a_number_of_any_length_is_read(length: int) -> None:
    found = parse(Personal('{"a": ' + "9" * length + "}"))["a"]
    assert found == (int("9" * length) if length < 1000 else float("inf"))


@pytest.mark.parametrize("text", ["[]", "{", "5"])
def test_what_is_no_object_is_told_so(text: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        parse(Personal(text))
    assert caught.value.answer()["mensagem"] == "Argumentos inválidos: envie um objeto JSON."


# --------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("text", ["", "  \n", "{}", '{"outro": 1}', '{"resumo": null, "setor": " \\t "}'])
def test_what_is_absent_null_or_blank_reads_as_missing(text: str) -> None:
    assert read_text(text) == {"resumo": "", "setor": ""}


@pytest.mark.parametrize(
    "text", ["\u200b", "\u2800", "\u3164 \u00ad", "\u115f\uffa0\u034f", "\ufe0f\u2060\ue000"]
)
def test_a_text_that_shows_nothing_reads_as_missing(text: str) -> None:
    assert read_text(json.dumps({"resumo": text, "setor": f"a{text}"})) == {"resumo": "", "setor": f"a{text}"}


@pytest.mark.parametrize("text", ["👍", ".", "ç", "１", "$", "한"])
def test_a_text_that_shows_anything_is_one(text: str) -> None:
    assert read_text(json.dumps({"resumo": text}))["resumo"] == text


def test_texts_are_read_as_given_in_the_tools_order() -> None:
    found = read_text('{"setor": " SUPORTE ", "resumo": "Olá \\ud83d\\ude00\\n"}')
    assert list(found.items()) == [("resumo", "Olá 😀\n"), ("setor", " SUPORTE ")]


@pytest.mark.parametrize("value", ["1" * 5000, "-0", "NaN", '"\\u0000"', '"\\ud800"', '{"a": [1]}'])
def test_unknown_names_are_ignored_whatever_they_hold(value: str) -> None:
    assert read_text(f'{{"cpf": {value}, "setor": "SUPORTE"}}')["setor"] == "SUPORTE"


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "null",
        "[]",
        '"texto"',
        "5",
        "1" * 5000,
        '{"setor": "a\nb"}',
        "\ufeff{}",
        '{"setor": 5}',
        '{"setor": true}',
        '{"setor": ["SUPORTE"]}',
        '{"setor": {"nome": "SUPORTE"}}',
        '{"setor": NaN}',
        "[" * 200_000,
        '{"outro": ' * 200_000,
    ],
    ids=lambda text: text[:20],
)
def test_anything_but_an_object_of_texts_is_invalid(text: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        read_text(text)
    assert str(caught.value) == "argumentos_invalidos"


@pytest.mark.parametrize("escape", ["\\u0000", "\\ud83d", "\\ude00\\ud83d"])
def test_text_that_cannot_be_recorded_is_invalid_and_says_where(escape: str) -> None:
    with pytest.raises(InvalidArguments) as caught:
        read_text(f'{{"resumo": "a{escape}b"}}')
    assert caught.value.answer()["mensagem"] == (
        "Argumentos inválidos: resumo contém caracteres que não podem ser registrados."
    )


def test_an_invalid_value_comes_before_a_missing_one() -> None:
    with pytest.raises(InvalidArguments):
        read_text('{"setor": 1}')


@pytest.mark.untraced
@given(st.text() | JSON.map(json.dumps) | JSON.map(lambda value: json.dumps({"setor": value})))
@settings(deadline=None)
def test_no_text_raises_anything_but_invalid_arguments(text: str) -> None:
    try:
        found = read_text(text)
    except InvalidArguments:
        return
    assert tuple(found) == NAMES
    for value in found.values():
        assert "\0" not in value
        value.encode()


def test_missing_parameters_are_named_in_the_tools_order() -> None:
    require({"resumo": "a", "setor": "b"})
    with pytest.raises(MissingParameters) as caught:
        require({"resumo": "", "setor": "b", "motivo": ""})
    answer = caught.value.answer()
    assert answer["faltando"] == ["resumo", "motivo"]
    assert answer["mensagem"] == "Parâmetros obrigatórios faltando: resumo, motivo"
