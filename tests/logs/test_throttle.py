"""What repeats is written once a minute (docs/operating.pt-BR.md, the table of limits)."""

import asyncio
import logging

import pytest

from worker import logs
from worker.logs.throttle import Throttle


def test_a_line_is_admitted_once_a_minute_and_says_how_often_it_was_held_back() -> None:
    now = 100.0
    throttle = Throttle(lambda: now)
    assert throttle.admit("a") == 0
    assert [throttle.admit("a"), throttle.admit("b"), throttle.admit("a")] == [None, 0, None]
    now = 159.9
    assert throttle.admit("a") is None
    now = 160.0
    assert throttle.admit("a") == 3
    assert throttle.admit("a") is None
    now = 220.0
    assert throttle.admit("a") == 1


def test_what_is_remembered_is_bounded() -> None:
    throttle = Throttle(lambda: 0.0)
    for number in range(1001):
        throttle.admit(number)
    assert throttle.admit(0) == 0
    assert throttle.admit(1000) is None


def test_a_failure_that_repeats_is_one_line_and_another_one_is_another(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for _ in range(5):
        logs.failure("plataforma não atende", ValueError())
    logs.failure("plataforma não atende", KeyError())
    logs.failure("plataforma não atende", ValueError(), call_id="tc_1")
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_an_event_repeats_as_often_as_it_happens(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        logs.ticket_started()
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_what_the_loop_and_the_libraries_report_is_throttled(capsys: pytest.CaptureFixture[str]) -> None:
    loop = asyncio.new_event_loop()
    logs.setup()
    try:
        for _ in range(5):
            logs.loop_exception_handler(loop, {"message": "x", "exception": OSError(24, "too many")})
            logging.getLogger("uvicorn.error").warning("Invalid HTTP request received.")
    finally:
        logs.shutdown()
        loop.close()
    assert len(capsys.readouterr().err.splitlines()) == 2
