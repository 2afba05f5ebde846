"""A personal value shows nothing by itself."""

import contextlib
import copy
import io
import json
import logging
import marshal
import pickle
import pprint
import re
import reprlib
import sqlite3
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC
from string import Template
from urllib.parse import quote

import httpx
import pytest
from fastapi.encoders import jsonable_encoder
from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic_core import to_json, to_jsonable_python
from rich.console import Console
from rich.pretty import pretty_repr
from sqlalchemy import String, literal

from worker.personal import Personal
from worker.views import ConversationView
from worker.web.responses import Conversation

SECRET = "529.982.247-25 Maria"


def test_the_value_comes_out_by_name_only() -> None:
    assert Personal(SECRET).reveal() == SECRET


def test_an_object_travels_as_real_utf8() -> None:
    assert Personal.json({"setor": "COBRANÇA 😀", "n": 1}).reveal() == '{"setor": "COBRANÇA 😀", "n": 1}'


def printed(write: Callable[[object], None], value: object) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        write(value)
    return out.getvalue()


def with_locals(value: Personal) -> str:
    try:
        raise ValueError
    except ValueError as error:
        return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


class Model(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    value: Personal


@dataclass
class Holder:
    value: Personal


PRINTING = {
    "str": str,
    "repr": repr,
    "ascii": ascii,
    "format": "{}".format,
    "format, as wide": "{!r:>40}".format,
    "f-string": lambda value: f"{value:>40}",
    "%s": "%s".__mod__,
    "%r": "%r".__mod__,
    "Template": lambda value: Template("$v").substitute(v=value),
    "print": lambda value: printed(print, value),
    "pprint": pprint.pformat,
    "reprlib": reprlib.repr,
    "rich": lambda value: printed(Console(width=200).print, value),
    "rich, pretty": lambda value: pretty_repr({"v": value}),
    "logging": lambda value: logging.LogRecord("x", 10, "", 1, "%s", (value,), None).getMessage(),
    "json, with str for the rest": lambda value: json.dumps([value], default=str),
    "pydantic model": lambda value: repr(Model(value=value)),
    "pydantic model, as a dict": lambda value: repr(Model(value=value).model_dump()),
    "dataclass": lambda value: repr(Holder(value)),
    "exception": lambda value: "".join(traceback.format_exception(ValueError(value))),
    "locals of a traceback": with_locals,
    "SQL parameter": lambda value: str(literal(value, String()).compile().params),
    "URL": lambda value: str(httpx.QueryParams({"q": str(value)})["q"]),
}


@pytest.mark.parametrize("show", PRINTING.values(), ids=PRINTING)
def test_no_way_of_printing_shows_the_value(show) -> None:
    shown = show(Personal(SECRET))
    assert "[pessoal]" in shown
    assert "Maria" not in shown
    assert "529" not in shown


def test_containers_and_exceptions_do_not_show_it_either() -> None:
    value = Personal(SECRET)
    for shown in (repr([value]), repr({"a": value}), str(ValueError(value)), f"{value!s:.200}"):
        assert "Maria" not in shown


EXPORTING = {
    "pickle": pickle.dumps,
    "pickle, the oldest form": lambda value: pickle.dumps(value, 0),
    "marshal": marshal.dumps,
    "__reduce_ex__": lambda value: value.__reduce_ex__(4),
    "__getstate__": lambda value: value.__getstate__(),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "asdict": lambda value: asdict(Holder(value)),
    "json": json.dumps,
    "json, as a key": lambda value: json.dumps({value: 1}),
    "pydantic": lambda value: Model(value=value).model_dump_json(),
    "pydantic, anything": to_json,
    "pydantic, as JSON": lambda value: to_jsonable_python({"v": value}),
    "FastAPI": jsonable_encoder,
    "validated as a text": TypeAdapter(str).validate_python,
    "vars": vars,
    "iter": list,
    "unpacking": lambda value: (*value,),
    "len": len,
    "index": lambda value: value[0],
    "in": lambda value: "529" in value,
    "<": lambda value: value < Personal("a"),
    "sorted": lambda value: sorted([value, Personal("a")]),
    "+": lambda value: "x" + value,
    "join": lambda value: "".join([value]),
    "int": int,
    "bytes": bytes,
    "open": open,
    "re": lambda value: re.search("529", value),
    "quote": quote,
    "%d": lambda value: "%d" % value,  # noqa: UP031  # the very form
    "SQL": lambda value: sqlite3.connect(":memory:").execute("select ?", (value,)),
    "httpx": lambda value: httpx.Request("POST", "http://a", content=value),
}


@pytest.mark.parametrize("export", EXPORTING.values(), ids=EXPORTING)
@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
def test_it_is_not_turned_into_another_form(export: Callable[[Personal], object]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # each library has its own
        export(Personal(SECRET))
    assert "Maria" not in f"{caught.value!r} {caught.value}"
    assert "529" not in f"{caught.value!r} {caught.value}"


def test_its_hash_is_not_that_of_the_text() -> None:
    assert hash(Personal(SECRET)) != hash(SECRET)
    assert hash(Personal(SECRET)) not in {hash((SECRET,)), hash((None, SECRET))}


def test_no_public_attribute_holds_the_value() -> None:
    value = Personal(SECRET)
    public = [name for name in dir(value) if not name.startswith("_")]
    assert public == ["json", "reveal"]
    assert all("Maria" not in repr(getattr(value, name)) for name in dir(value) if name != "_value")


def test_two_are_equal_when_their_values_are_and_only_then() -> None:
    assert Personal("a") == Personal("a")
    assert Personal("a") != Personal("b")
    assert Personal("a") != "a"
    assert len({Personal("a"), Personal("a"), Personal("b")}) == 2


def test_what_a_caller_is_shown_is_opened_but_does_not_print_itself() -> None:
    shown = Conversation.of(
        ConversationView("c", None, None, None, Personal(SECRET), Personal(SECRET), None, 0.0, 0.0), UTC
    )
    assert (shown.contact, shown.attachment_url) == (SECRET, SECRET)
    assert "Maria" not in repr(shown) + str(shown)
