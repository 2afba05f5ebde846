"""Public holidays of Brazil and its states, by the library `holidays`, and other dates (contract §12)."""

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from datetime import date

STATES = (
    *("AC", "AL", "AM", "AP", "BA", "CE", "DF", "ES", "GO", "MA", "MG", "MS", "MT", "PA"),
    *("PB", "PE", "PI", "PR", "RJ", "RN", "RO", "RR", "RS", "SC", "SE", "SP", "TO"),
)
"""The federative units, as `BR-RJ` names them."""


@dataclass(frozen=True, slots=True)
class HolidayCalendar:
    """The days on which nobody attends. Optional holidays such as Carnival are dates of one's own."""

    calendars: Sequence[Container[date]]

    def __contains__(self, day: object) -> bool:
        return any(day in each for each in self.calendars)


def parse(texts: Sequence[str]) -> tuple[HolidayCalendar, Sequence[str]]:
    """`BR`, `BR-RJ`, `2026-12-24` or `24/12/2026`, and a Portuguese sentence for each text that is none."""
    calendars: list[Container[date]] = []
    problems = []
    for text in texts:
        try:
            calendars.append(_calendar(text.strip()))
        except ValueError:
            problems.append(f'"{text}" não é BR, BR e um estado (BR-RJ) nem uma data (2026-12-24)')
    return HolidayCalendar(calendars), problems


def _calendar(text: str) -> Container[date]:
    """Raises `ValueError`."""
    country, _, state = text.upper().partition("-")
    if country == "BR" and (not state or state in STATES):
        return _public_holidays(state or None)
    if brazilian := re.fullmatch(r"(\d\d)/(\d\d)/(\d{4})", text, re.ASCII):
        return {date(int(brazilian[3]), int(brazilian[2]), int(brazilian[1]))}
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        raise ValueError
    return {date.fromisoformat(text)}


def _public_holidays(state: str | None) -> Container[date]:
    """Of every year, each computed when it is first looked at."""
    from holidays import country_holidays  # noqa: PLC0415  # takes 0.3 s; most catalogues have no holidays

    calendar: Container[date] = country_holidays("BR", subdiv=state)
    return calendar
