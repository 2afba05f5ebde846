"""Opening hours: weekly hours and holidays of one departamento, in one time zone (contract §12). Pure.

Instants are seconds since the epoch. Hours belong to the day on which they begin: `sex 22:00-02:00` ends on
Saturday. On a holiday only the hours of `feriados` begin.
"""

import itertools
import re
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

DAYS = ("seg", "ter", "qua", "qui", "sex", "sáb", "dom")
"""Names of the days of the week in the catalogue, from Monday as in `date.weekday`."""

HOLIDAY = 7
"""The number of a holiday, after the seven days of the week."""

_WEEKDAYS = (
    *("segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira", "sábado", "domingo"),
)
_SPELLINGS = {name: day for day, name in enumerate(DAYS)} | {
    "sab": 5,
    "feriado": HOLIDAY,
    "feriados": HOLIDAY,
}
_HOURS = re.compile(r"(\S.*?)\s+(\d{1,2}):(\d\d)\s*[-–]\s*(\d{1,2}):(\d\d)", re.ASCII)
_MIDNIGHT = 24 * 60


@dataclass(frozen=True, slots=True, order=True)
class Shift:
    """Hours of one day."""

    #: 0 is Monday, 6 is Sunday, 7 is any holiday.
    day: int
    #: Minutes after midnight; `closes` is above 24 h if the hours end on the next day.
    opens: int
    closes: int


def parse(text: str) -> Sequence[Shift]:
    """The hours in a line of the catalogue: `seg-sex 08:00-18:00`, `sáb,dom 22:00-02:00`.

    Raises `ValueError` with a Portuguese sentence.
    """
    match = _HOURS.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError('precisa ter a forma "seg-sex 08:00-18:00"')
    opens, closes = _minutes(match[2], match[3]), _minutes(match[4], match[5])
    if opens == _MIDNIGHT:
        raise ValueError("abre às 24:00; escreva 00:00 do dia seguinte")
    if opens == closes:
        raise ValueError("abre e fecha à mesma hora; o dia inteiro é 00:00-24:00")
    if closes < opens:
        closes += _MIDNIGHT
    return [Shift(day, opens, closes) for day in _days(match[1])]


def _minutes(hour: str, minute: str) -> int:
    total = int(hour) * 60 + int(minute)
    if int(minute) > 59 or total > _MIDNIGHT:
        raise ValueError(f"{hour}:{minute} não é uma hora entre 00:00 e 24:00")
    return total


def _days(text: str) -> Sequence[int]:
    """`seg-sex`, `sex-dom`, `sáb,dom`, `todos`, `feriados`; a range may go over Sunday."""
    days: list[int] = []
    for part in re.split(r"\s*,\s*", text):
        first, *last = (
            (_day(name) for name in re.split(r"\s*-\s*", part, maxsplit=1)) if part != "todos" else (0, 6)
        )
        if last and HOLIDAY in (first, *last):
            raise ValueError("feriados não fazem parte de um intervalo de dias")
        days += [(first + n) % 7 for n in range((last[0] - first) % 7 + 1)] if last else [first]
    return days


def _day(name: str) -> int:
    if name not in _SPELLINGS:
        raise ValueError(f'"{name}" não é um dia; use {", ".join(DAYS)}, todos ou feriados')
    return _SPELLINGS[name]


class OpeningHours:
    """The hours of one departamento. Without shifts it is always open, on holidays too."""

    def __init__(
        self, zone: tzinfo, shifts: Sequence[Shift] = (), holidays: Container[date] = frozenset()
    ) -> None:
        """At least one shift must be on a day of the week, because the list of holidays ends."""
        self._zone = zone
        self._shifts = sorted(shifts)
        self._holidays = holidays

    def opens_at(self, at: float) -> float | None:
        """When attendance resumes; None if it is open at `at`."""
        begins, _ = next(self._periods(at))
        return begins if begins > at else None

    def deadline(self, at: float, seconds: float) -> float:
        """The instant at which `seconds` of opening hours have passed since `at`."""
        left = seconds
        for begins, ends in self._periods(at):
            if ends - begins >= left:
                return begins + left
            left -= ends - begins
        raise AssertionError("the periods never end")

    def _periods(self, at: float) -> Iterator[tuple[float, float]]:
        """Open periods from `at` on, in order and without overlap; two may touch."""
        if not self._shifts:
            yield at, float("inf")
        covered = at
        for day in _days_from(datetime.fromtimestamp(at, self._zone).date() - timedelta(days=1)):
            for shift in self._of(day):
                begins = max(covered, self._instant(day, shift.opens))
                ends = self._instant(day, shift.closes, late=True)
                if ends > begins:
                    yield begins, ends
                    covered = ends

    def _of(self, day: date) -> Iterator[Shift]:
        kind = HOLIDAY if day in self._holidays else day.weekday()
        return (shift for shift in self._shifts if shift.day == kind)

    def _instant(self, day: date, minutes: int, *, late: bool = False) -> float:
        """The instant at which the local clock shows `minutes` after the day's midnight.

        When the clock is put back there are two: `late` chooses the second. If the clock is put forward over
        that time, it is the moment of the change.
        """
        wall = datetime.combine(day, time(), self._zone) + timedelta(minutes=minutes)
        moment = wall.replace(fold=late).timestamp()
        on_clock = datetime.fromtimestamp(moment, self._zone).replace(tzinfo=None)
        return moment if on_clock == wall.replace(tzinfo=None) else self._put_forward(wall)

    def _put_forward(self, wall: datetime) -> float:
        """The moment of the clock change that skips this time, to the second."""
        before, after = (int(wall.replace(fold=fold).timestamp()) for fold in (1, 0))
        old = self._offset(before)
        while after - before > 1:
            middle = (before + after) // 2
            before, after = (middle, after) if self._offset(middle) == old else (before, middle)
        return float(after)

    def _offset(self, moment: int) -> timedelta | None:
        return datetime.fromtimestamp(moment, self._zone).utcoffset()


def _days_from(first: date) -> Iterator[date]:
    return (first + timedelta(days=n) for n in itertools.count())


def in_words(at: float, zone: tzinfo) -> str:
    """An instant as the customer reads it: `segunda-feira, 30/11, às 08:00`."""
    then = datetime.fromtimestamp(at, zone)
    return f"{_WEEKDAYS[then.weekday()]}, {then:%d/%m}, às {then:%H:%M}"
