"""The destinations of log lines: stderr, and a private, rotated UTF-8 file. The only module on loguru."""

import contextlib
import fcntl
import io
import json
import os
import re
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from loguru import logger as _logger

from worker.errors import ConfigError
from worker.log_fields import LogValue, as_text, context, reduced
from worker.logs.lastresort import redacted
from worker.logs.throttle import Throttle

if TYPE_CHECKING:
    from loguru import Message, Record

Level = Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]
Format = Literal["text", "json"]

_PLACE = re.compile(r"\{(\w+)\}")

_ROTATE_BYTES = 50_000_000
_KEPT = 14
_REMIND_S = 60.0

_REDACTED_LEVELS = frozenset({"WARNING", "ERROR", "CRITICAL"})


class _Outage:
    """State of the warning that the file cannot be written."""

    #: No further warning on stderr before this time (monotonic seconds).
    quiet_until = 0.0


@lru_cache(maxsize=256)
def places(message: str) -> frozenset[str]:
    """The names in braces of a message. Messages are constants, so the result is cached."""
    return frozenset(_PLACE.findall(message))


def emit(level: Level, message: str, fields: Mapping[str, LogValue], placed: Collection[str] = ()) -> None:
    """Write one line: the `placed` fields in the message's `{places}`, the others after it. Never raises.

    Messages are constants; text of libraries and exceptions has level WARNING or above. At these levels the
    message and `error` pass the last filter before other fields are added.
    """
    try:
        last_resort = redacted if level in _REDACTED_LEVELS else _unchanged
        values = {name: _clean(name, value, last_resort) for name, value in fields.items()}
        bound = _logger.bind(fields=values, placed=placed)
        bound.log(level, _one_line(_filled(last_resort(message), values, placed)))
    except Exception as error:  # noqa: BLE001 - whatever a sink suffers (full disk), the daemon goes on
        _note_outage(error)


_throttle = Throttle()


def emit_throttled(
    level: Level, message: str, fields: Mapping[str, LogValue], placed: Collection[str] = ()
) -> None:
    """Like `emit`, at most once a minute for the same line; `repeated` counts the lines held back."""
    held_back = _throttle.admit((message, *fields.items()))
    if held_back is not None:
        emit(level, message, {**fields, **({"repeated": held_back} if held_back else {})}, placed)


def forget_repetitions() -> None:
    """Let every line be written again."""
    _throttle.clear()


def _clean(name: str, value: LogValue, last_resort: Callable[[str], str]) -> LogValue:
    if not isinstance(value, str):
        return value
    return _one_line(last_resort(value) if name == "error" else value)


def _unchanged(text: str) -> str:
    return text


def _filled(message: str, values: Mapping[str, LogValue], placed: Collection[str]) -> str:
    return _PLACE.sub(lambda place: as_text(values[place[1]]) if place[1] in placed else place[0], message)


def _note_outage(error: Exception) -> None:
    """Say on stderr, the sink before the file, that the file could not be written."""
    now = time.monotonic()
    if now < _Outage.quiet_until:
        return
    _Outage.quiet_until = now + _REMIND_S
    bound = _logger.bind(fields={"error": reduced(error)}, placed=())
    with contextlib.suppress(Exception):  # the file suffers again; stderr has the line
        bound.log("ERROR", "O arquivo de log não pôde ser escrito; enquanto isso, só stderr")


def _one_line(text: str) -> str:
    """The text with spaces for characters that break a line, hide or turn text, or cannot be UTF-8."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)


# -------------------------------------------------------------------------------------------------- forms


def _time(record: "Record") -> str:
    """The time in TIMEZONE, with its offset."""
    return record["time"].astimezone(context.zone).isoformat(timespec="milliseconds")


def _as_text(record: "Record") -> str:
    fields, placed = record["extra"]["fields"], record["extra"]["placed"]
    appended = " ".join(f"{name}={as_text(fields[name])}" for name in fields if name not in placed)
    return (
        f"{_time(record)} {record['level'].name:<8} {record['message']}{' | ' if appended else ''}{appended}"
    )


def _as_json(record: "Record") -> str:
    line = {
        "time": _time(record),
        "level": record["level"].name,
        "message": record["message"],
        **record["extra"]["fields"],
    }
    return json.dumps(line, ensure_ascii=False)


_FORMS: Mapping[Format, Callable[["Record"], str]] = {"text": _as_text, "json": _as_json}


def _format(fmt: Format) -> Callable[["Record"], str]:
    """The formatter that loguru calls for each sink. The line is made once and used for both."""

    def template(record: "Record") -> str:
        extra = record["extra"]
        if "line" not in extra:
            extra["line"] = _FORMS[fmt](record)
        return "{extra[line]}\n"

    return template


# -------------------------------------------------------------------------------------------------- sinks


def open_sinks(stack: contextlib.ExitStack, level: Level, fmt: Format, directory: Path | None) -> Path | None:
    """Write to stderr and, with a directory, to a file, whose path is returned, until `stack` closes.

    Every line is flushed at once, so an abrupt end loses none. Raises `ConfigError` when
    the directory cannot be written.
    """
    stack.callback(only_stderr)
    only_stderr(level, fmt)
    _make_utf8(sys.stderr)
    if directory is None:
        return None
    try:
        path = _claim_file(stack, directory)
        _add(
            str(path).replace("{", "{{").replace("}", "}}"),  # loguru takes a path for a template
            level,
            fmt,
            rotation=_is_due,
            retention=_KEPT,
            opener=_open_private,
            errors="backslashreplace",
            watch=True,
        )
    except OSError as error:
        raise ConfigError(f"LOG_DIR não pode ser usado ({error.strerror}); use - para só stderr") from None
    return path


def _add(sink: str | Callable[["Message"], None], level: Level, fmt: Format, **options: Any) -> None:
    """Add a sink without loguru's own error reports, which print whole records and values in tracebacks."""
    _logger.add(
        sink,
        level=level,
        format=_format(fmt),
        colorize=False,
        backtrace=False,
        diagnose=False,
        catch=False,
        **options,
    )


def only_stderr(level: Level = "INFO", fmt: Format = "text") -> None:
    """Close what is open, and write to stderr."""
    with contextlib.suppress(OSError, ValueError):  # a full disk refuses the last flush
        _logger.remove()
    _add(_to_stderr, level, fmt)


def _make_utf8(stream: object) -> None:
    """Write UTF-8 under any locale: an ASCII locale would raise for some characters."""
    if isinstance(stream, io.TextIOWrapper):
        with contextlib.suppress(OSError, ValueError):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def _to_stderr(line: "Message") -> None:
    """Write to the current `sys.stderr`. A line that fails (closed pipe, full disk) is dropped."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(line)
            sys.stderr.flush()


def _claim_file(stack: contextlib.ExitStack, directory: Path) -> Path:
    """`worker.log` for the first process on the folder, `worker-<pid>.log` for any other."""
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=directory) as probe:
        probe.write(bytes(4096))  # a full disk lets files be made, not filled
    lock = os.open(directory / ".worker.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    stack.callback(os.close, lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return directory / f"worker-{os.getpid()}.log"
    _prune(directory)
    return directory / "worker.log"


def _prune(directory: Path) -> None:
    """Delete old files of second processes, which no later process rotates."""
    others = sorted(directory.glob("worker-*.log"), key=lambda path: path.stat().st_mtime)
    for path in others[:-_KEPT]:
        path.unlink(missing_ok=True)


def _open_private(path: str, flags: int) -> int:
    """Open a file with mode 0600, regardless of the umask and its earlier mode. Devices keep theirs."""
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.fchmod(descriptor, 0o600)
    return descriptor


def _is_due(message: "Message", file: IO[str]) -> bool:
    """Rotate before the line that would exceed the size, and before the first line of a day."""
    status = os.fstat(file.fileno())
    if not status.st_size:
        return False
    day = message.record["time"].date()
    last_day = datetime.fromtimestamp(status.st_mtime, message.record["time"].tzinfo).date()
    return day != last_day or status.st_size + len(message.encode()) > _ROTATE_BYTES
