"""A personal value shows nothing by itself."""

import copy
import json
import pickle
from dataclasses import asdict, dataclass

import pytest

from worker.personal import Personal

SECRET = "529.982.247-25 Maria"


def test_the_value_comes_out_by_name_only() -> None:
    assert Personal(SECRET).reveal() == SECRET


def test_an_object_travels_as_real_utf8() -> None:
    assert Personal.json({"setor": "COBRANÇA 😀", "n": 1}).reveal() == '{"setor": "COBRANÇA 😀", "n": 1}'


@pytest.mark.parametrize("show", [str, repr, "{}".format, "%s".__mod__, "{!r:>40}".format, ascii])
def test_no_way_of_printing_shows_the_value(show) -> None:
    shown = show(Personal(SECRET))
    assert "[pessoal]" in shown
    assert "Maria" not in shown
    assert "529" not in shown


def test_containers_and_exceptions_do_not_show_it_either() -> None:
    value = Personal(SECRET)
    for shown in (repr([value]), repr({"a": value}), str(ValueError(value)), f"{value!s:.200}"):
        assert "Maria" not in shown


@pytest.mark.parametrize("export", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, vars])
def test_it_is_not_copied_into_another_form(export) -> None:
    with pytest.raises(TypeError) as caught:
        export(Personal(SECRET))
    assert "Maria" not in str(caught.value)


def test_a_dataclass_that_holds_one_is_not_unfolded() -> None:
    @dataclass
    class Holder:
        value: Personal

    with pytest.raises(TypeError):
        asdict(Holder(Personal(SECRET)))


def test_two_are_equal_when_their_values_are_and_only_then() -> None:
    assert Personal("a") == Personal("a")
    assert Personal("a") != Personal("b")
    assert Personal("a") != "a"
    assert len({Personal("a"), Personal("a"), Personal("b")}) == 2
