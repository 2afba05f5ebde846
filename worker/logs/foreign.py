"""Sends stdlib loggers, warnings and crashes to the worker's sinks, without any value."""

import contextlib
import inspect
import logging
import sys
import threading
import warnings
from types import TracebackType
from typing import Any

from worker.log_fields import LogValue, logger_name, place, reduced
from worker.logs.sinks import Level, emit_throttled

_LEVELS: dict[int, Level] = {
    logging.CRITICAL: "CRITICAL",
    logging.ERROR: "ERROR",
    logging.WARNING: "WARNING",
    logging.INFO: "INFO",
    logging.DEBUG: "DEBUG",
}


def install(stack: contextlib.ExitStack, level: Level) -> None:
    """Take over what the interpreter and the libraries report, until `stack` closes."""
    _intercept_loggers(stack, level)
    _replace(stack, sys, "excepthook", _crashed)
    _replace(stack, sys, "unraisablehook", _unraisable)
    _replace(stack, threading, "excepthook", _thread_crashed)
    _replace(stack, warnings, "showwarning", _warned)


def _replace(stack: contextlib.ExitStack, owner: object, name: str, value: object) -> None:
    stack.callback(setattr, owner, name, getattr(owner, name))
    setattr(owner, name, value)


# ------------------------------------------------------------------------------------------------ loggers


def _intercept_loggers(stack: contextlib.ExitStack, level: Level) -> None:
    """Replace all handlers by one at the root. It takes records below WARNING only at level DEBUG."""
    root = logging.getLogger()
    threshold = logging.DEBUG if level in {"TRACE", "DEBUG"} else logging.WARNING
    _replace(stack, root, "handlers", [_Reducer(threshold)])
    stack.callback(root.setLevel, root.level)
    root.setLevel(threshold)
    for name in list(root.manager.loggerDict):
        foreign = logging.getLogger(name)
        foreign.handlers.clear()
        foreign.propagate = True
    logging.getLogger("uvicorn.access").disabled = True  # request lines carry conversation ids and addresses
    logging.getLogger("aiosqlite").setLevel(logging.INFO)  # at DEBUG, two lines a statement


class _Reducer(logging.Handler):
    """Logs logger, level, template and place of a record, never its arguments."""

    def emit(self, record: logging.LogRecord) -> None:
        template = record.msg if record.args and _is_literal(record) else "(mensagem omitida)"
        fields: dict[str, LogValue] = {
            "logger": logger_name(record.name),
            "where": place(record.pathname, record.lineno),
        }
        if isinstance(record.exc_info, tuple) and record.exc_info[1]:
            fields["error"] = reduced(record.exc_info[1])
        emit_throttled(_level(record.levelno), f"{{logger}}: {template}", fields, placed=["logger"])


def _level(number: int) -> Level:
    """The nearest level at or below a number, which may lie between the usual ones."""
    return next((level for floor, level in _LEVELS.items() if number >= floor), "TRACE")


def _is_literal(record: logging.LogRecord) -> bool:
    """Whether the message stands in the code that logs it: an f-string or an object may hold anything."""
    frame = inspect.currentframe()
    while frame and (frame.f_code.co_filename, frame.f_lineno) != (record.pathname, record.lineno):
        frame = frame.f_back
    return frame is not None and isinstance(record.msg, str) and record.msg in frame.f_code.co_consts


# ------------------------------------------------------------------------------------ crashes and warnings


def crashed(message: str, error: BaseException | None, level: Level = "ERROR") -> None:
    """Log an exception that was not caught."""
    emit_throttled(level, message, {"error": reduced(error)} if error else {})


def _crashed(_kind: type[BaseException], error: BaseException, _trace: TracebackType | None) -> None:
    crashed("O processo termina por um erro não tratado", error, "CRITICAL")


def _thread_crashed(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:
        crashed("Uma thread terminou por um erro não tratado", args.exc_value)


def _unraisable(unraisable: Any) -> None:  # sys.UnraisableHookArgs exists for type checkers only
    crashed("Erro durante uma finalização", unraisable.exc_value)


def _warned(
    _message: Warning | str, category: type[Warning], filename: str, lineno: int, *_file_and_line: object
) -> None:
    emit_throttled(
        "WARNING", f"Aviso de uma biblioteca: {category.__name__}", {"where": place(filename, lineno)}
    )
