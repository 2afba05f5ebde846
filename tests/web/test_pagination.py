"""Since when, and where the next page begins (contract §3)."""

import base64
import json
import time
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from worker.web.invalid import InvalidField
from worker.web.pagination import cursor_text, parse_cursor, parse_since

ZONE = ZoneInfo("America/Sao_Paulo")
NOW = datetime.fromisoformat("2025-10-27T01:30:00-03:00").timestamp()


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("24h", "2025-10-26T01:30:00-03:00"),
        ("7d", "2025-10-20T01:30:00-03:00"),
        ("hoje", "2025-10-27T00:00:00-03:00"),
        ("Hoje", "2025-10-27T00:00:00-03:00"),
        ("2025-10-27T03:00:00Z", "2025-10-27T00:00:00-03:00"),
        ("2025-10-27T00:00:00.5-03:00", "2025-10-27T00:00:00.5-03:00"),
        ("2025-10-27T00:00:00", "2025-10-27T00:00:00-03:00"),
        ("2025-10-27", "2025-10-27T00:00:00-03:00"),
        ("2025-10-27 10:00", "2025-10-27T10:00:00-03:00"),
        ("2025-10-27T10:00:00 02:00", "2025-10-27T10:00:00+02:00"),
    ],
)
def test_since_may_be_a_span_today_or_a_time(text: str, meant: str) -> None:
    assert parse_since(text, ZONE, NOW) == datetime.fromisoformat(meant).timestamp()


def test_today_is_the_day_of_the_zone_and_not_of_the_machine() -> None:
    assert parse_since("hoje", ZoneInfo("Asia/Tokyo"), NOW) == NOW - 13.5 * 3600


@pytest.mark.parametrize(
    "text",
    ["", "h", "24", "24m", "-1h", "1.5h", "٣h", "999999d", "2025-13-01", "0000-01-01", "\x00", "x" * 9999],
)
def test_any_other_since_is_refused_without_being_repeated(text: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parse_since(text, ZONE, NOW)
    assert caught.value.problem.field == "since"
    assert caught.value.problem.message == "precisa ser 24h, 7d, hoje, ou data e hora como 2025-10-27T15:34"


@pytest.mark.parametrize(
    "text", ["T" * 200_000, "T " * 100_000, "1" * 200_000, "hoje" * 50_000, " " * 200_000]
)
def test_a_since_of_any_length_is_judged_at_once(text: str) -> None:
    began = time.process_time()
    with pytest.raises(InvalidField):
        parse_since(text, ZONE, NOW)
    assert time.process_time() - began < 0.5


@pytest.mark.parametrize("cursor", [(NOW, "tc_1"), (0.1 + 0.2, "x" * 128), (5, "tc_1")])
def test_a_cursor_comes_back_as_it_went_out(cursor: tuple[float, str]) -> None:
    text = cursor_text(cursor)
    assert text is not None
    assert text.replace("-", "").replace("_", "").isalnum()
    assert parse_cursor(text) == cursor


def test_the_last_page_has_no_cursor() -> None:
    assert cursor_text(None) is None


def encoded(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "ç",
        "AAAA",
        encoded(1),
        encoded([1.0]),
        encoded([1.0, "tc", 3]),
        encoded([True, "tc"]),
        encoded(["tc", 1.0]),
        encoded([1.0, 2]),
        encoded([1.0, ""]),
        encoded([1.0, "a\x00"]),
        encoded([1.0, "tc\n"]),
        encoded([float("inf"), "tc"]),
        encoded([float("nan"), "tc"]),
        encoded({"a": 1, "b": 2}),
        encoded([1.0, "x" * 257]),
        base64.b64encode(b"[" * 50_000).decode(),
    ],
)
def test_a_cursor_nobody_gave_is_refused(text: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parse_cursor(text)
    assert caught.value.problem.field == "cursor"
