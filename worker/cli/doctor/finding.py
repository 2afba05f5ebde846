"""One line of the doctor's report."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


_GLYPHS = {Level.OK: "✓", Level.WARNING: "!", Level.ERROR: "✗"}


@dataclass(frozen=True, slots=True)
class Finding:
    """`code` is for programs, `message` (Portuguese) for people."""

    code: str
    level: Level
    message: str

    def __str__(self) -> str:
        return f"{_GLYPHS[self.level]} {self.message}"


def ok(code: str, message: str) -> Finding:
    """It is as it should be."""
    return Finding(code, Level.OK, message)


def note(code: str, message: str) -> Finding:
    """The worker runs, but an operator should know."""
    return Finding(code, Level.WARNING, message)


def bad(code: str, message: str) -> Finding:
    """The worker cannot do its work."""
    return Finding(code, Level.ERROR, message)
