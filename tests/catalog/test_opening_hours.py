"""Opening hours agree with a clock on the wall that is looked at every minute."""

import functools
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.catalog.opening_hours import DAYS, HOLIDAY, OpeningHours, Shift, in_words, parse
from worker.times import rfc3339

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
MINUTE = 60.0


def at(text: str, zone: ZoneInfo = SAO_PAULO) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone).timestamp()


def hours(*lines: str, holidays: frozenset[date] = frozenset(), zone: ZoneInfo = SAO_PAULO) -> OpeningHours:
    return OpeningHours(zone, [shift for line in lines for shift in parse(line)], holidays)


def shown(moment: float | None, zone: ZoneInfo = SAO_PAULO) -> str | None:
    return None if moment is None else f"{datetime.fromtimestamp(moment, zone):%Y-%m-%dT%H:%M}"


BUSINESS = hours("seg-sex 08:00-18:00", "sáb 08:00-12:00")


# ------------------------------------------------------------------------------------------------ examples


@pytest.mark.parametrize(
    ("now", "opens"),
    [
        ("2026-11-27T17:59", None),  # a Friday
        ("2026-11-27T18:00", "2026-11-28T08:00"),
        ("2026-11-28T07:59", "2026-11-28T08:00"),
        ("2026-11-28T08:00", None),
        ("2026-11-28T12:00", "2026-11-30T08:00"),
        ("2026-11-29T03:00", "2026-11-30T08:00"),
        ("2026-11-30T00:00", "2026-11-30T08:00"),
    ],
)
def test_the_next_opening_skips_nights_and_the_sunday(now: str, opens: str | None) -> None:
    assert shown(BUSINESS.opens_at(at(now))) == opens


@pytest.mark.parametrize(
    ("now", "seconds", "due"),
    [
        ("2026-11-27T10:00", 900, "2026-11-27T10:15"),
        ("2026-11-27T17:50", 900, "2026-11-28T08:05"),
        ("2026-11-27T17:45", 900, "2026-11-27T18:00"),
        ("2026-11-28T11:50", 900, "2026-11-30T08:05"),
        ("2026-11-29T03:00", 900, "2026-11-30T08:15"),
        ("2026-11-27T17:00", 6 * 3600, "2026-11-30T09:00"),
    ],
)
def test_a_deadline_counts_opening_hours_only(now: str, seconds: float, due: str) -> None:
    assert shown(BUSINESS.deadline(at(now), seconds)) == due


def test_without_hours_it_is_always_open() -> None:
    always = OpeningHours(SAO_PAULO, holidays={date(2026, 12, 25)})
    assert always.opens_at(at("2026-12-25T03:00")) is None
    assert always.deadline(1000.0, 900.0) == 1900.0


def test_hours_over_midnight_belong_to_the_day_they_begin() -> None:
    night = hours("sex 22:00-02:00")
    assert night.opens_at(at("2026-11-28T01:59")) is None
    assert shown(night.opens_at(at("2026-11-28T02:00"))) == "2026-12-04T22:00"
    assert shown(night.opens_at(at("2026-11-27T01:00"))) == "2026-11-27T22:00"


def test_on_a_holiday_nothing_begins_but_a_night_that_had_begun_goes_on() -> None:
    night = hours("todos 22:00-02:00", holidays=frozenset({date(2026, 12, 25)}))
    assert night.opens_at(at("2026-12-25T01:00")) is None
    assert shown(night.opens_at(at("2026-12-25T23:00"))) == "2026-12-26T22:00"


def test_hours_of_holidays_hold_on_holidays_only() -> None:
    both = hours("todos 08:00-18:00", "feriados 10:00-12:00", holidays=frozenset({date(2026, 12, 25)}))
    assert shown(both.opens_at(at("2026-12-25T09:00"))) == "2026-12-25T10:00"
    assert shown(both.opens_at(at("2026-12-25T12:00"))) == "2026-12-26T08:00"
    assert both.opens_at(at("2026-12-24T09:00")) is None


def test_days_and_nights_without_a_gap_count_as_one_opening() -> None:
    around_the_clock = hours("todos 00:00-24:00")
    assert around_the_clock.opens_at(at("2026-11-29T00:00")) is None
    assert shown(around_the_clock.deadline(at("2026-11-28T23:55"), 900)) == "2026-11-29T00:10"


def test_hours_that_overlap_count_once() -> None:
    both = hours("sex 08:00-18:00", "sex 16:00-20:00", "sex 09:00-10:00")
    assert shown(both.deadline(at("2026-11-27T15:00"), 5 * 3600)) == "2026-11-27T20:00"
    assert shown(both.opens_at(at("2026-11-27T20:00"))) == "2026-12-04T08:00"


def test_where_midnight_does_not_exist_the_day_opens_when_the_clock_is_put_forward() -> None:
    # 2018-11-04 began at 01:00 in São Paulo.
    assert shown(hours("dom 00:00-24:00").opens_at(at("2018-11-03T12:00"))) == "2018-11-04T01:00"
    assert shown(hours("dom 00:30-06:00").opens_at(at("2018-11-03T12:00"))) == "2018-11-04T01:00"


def test_hours_that_the_clock_skips_altogether_do_not_open() -> None:
    skipped = hours("dom 00:10-00:20")
    assert shown(skipped.opens_at(at("2018-11-03T12:00"))) == "2018-11-11T00:10"


def test_an_hour_that_comes_twice_is_open_twice() -> None:
    # 2018-02-18: at midnight the clock was put back to 23:00 of Saturday.
    late = hours("sáb 23:00-24:00")
    begins = at("2018-02-17T23:00")
    assert late.deadline(begins, 2 * 3600) == begins + 2 * 3600
    assert late.deadline(begins, 2 * 3600 + 60) > begins + 86_400


def test_hours_that_end_within_the_repeated_hour_last_until_its_second_time() -> None:
    half = hours("sáb 22:00-23:30")
    begins = at("2018-02-17T22:00")
    assert half.deadline(begins, 2.5 * 3600) == begins + 2.5 * 3600
    assert half.opens_at(begins + 2.5 * 3600 - 1) is None
    assert half.opens_at(begins + 2.5 * 3600) is not None


def test_hours_that_begin_within_the_repeated_hour_begin_at_its_first_time() -> None:
    assert hours("sáb 23:30-24:00").opens_at(at("2018-02-17T22:00")) == at("2018-02-17T23:30")


# --------------------------------------------------------------------------------------- a clock on a wall

ZONES = ["America/Sao_Paulo", "America/New_York", "Europe/Lisbon", "Australia/Lord_Howe", "UTC"]
STARTS = [date(2018, 2, 14), date(2018, 10, 31), date(2026, 3, 5), date(2026, 10, 22), date(2026, 11, 26)]
SPAN = 6 * 24 * 60
"""Minutes the oracle looks at: each start has a change of some zone's clock within them."""

shifts = st.builds(
    lambda day, opens, length: Shift(day, opens, min(opens + length, 2880)),
    st.integers(0, HOLIDAY),
    st.integers(0, 1439),
    st.integers(1, 1440),
)


@functools.cache
def wall_clock(zone: ZoneInfo, first: date) -> tuple[int, list[datetime]]:
    """What the clock shows in each minute from two days before `first`, and how many those two days have."""
    start = datetime.combine(first - timedelta(days=2), time(), zone).astimezone(UTC)
    lead = int((datetime.combine(first, time(), zone).astimezone(UTC) - start) / timedelta(minutes=1))
    minutes = (start + timedelta(minutes=n) for n in range(lead + SPAN + 3 * 1440))
    return lead, [minute.astimezone(zone).replace(tzinfo=None) for minute in minutes]


def watched(zone: ZoneInfo, first: date, week: list[Shift], holidays: frozenset[date]) -> list[bool]:
    """Whether it is open, minute by minute: shifts begin and end as a clock on the wall passes them."""
    lead, walls = wall_clock(zone, first)
    is_open = [False] * len(walls)
    for day in (first + timedelta(days=n) for n in range(-2, SPAN // 1440 + 2)):
        for shift in week:
            if shift.day != (HOLIDAY if day in holidays else day.weekday()):
                continue
            midnight = datetime.combine(day, time())
            opens, closes = (midnight + timedelta(minutes=each) for each in (shift.opens, shift.closes))
            begins = next((n for n, wall in enumerate(walls) if wall >= opens), len(walls))
            ends = max((n for n, wall in enumerate(walls) if wall < closes), default=-1) + 1
            is_open[begins:ends] = [True] * len(is_open[begins:ends])
    return is_open[lead : lead + SPAN]


@settings(max_examples=60, deadline=None)
@given(
    zone=st.sampled_from(ZONES).map(ZoneInfo),
    first=st.sampled_from(STARTS),
    week=st.lists(shifts, min_size=1, max_size=5),
    off=st.frozensets(st.integers(0, 6), max_size=2),
    minutes=st.lists(st.integers(0, SPAN - 1), min_size=20, max_size=20),
    seconds=st.integers(1, 3000),
)
def test_hours_are_what_a_clock_on_the_wall_shows(  # noqa: PLR0917  # hypothesis' own
    zone: ZoneInfo,
    first: date,
    week: list[Shift],
    off: frozenset[int],
    minutes: list[int],
    seconds: int,
) -> None:
    week = [*week, Shift(first.weekday(), 0, 1)]  # some day of the week, so that it opens again
    holidays = frozenset(first + timedelta(days=n) for n in off)
    looked = watched(zone, first, week, holidays)
    opening = OpeningHours(zone, week, holidays)
    start = datetime.combine(first, time(), zone).timestamp()
    for minute in minutes:
        moment = start + minute * MINUTE
        opens = opening.opens_at(moment)
        assert (opens is None) == looked[minute]
        later = next((n for n in range(minute, SPAN) if looked[n]), None)
        if opens is not None and later is not None:
            assert opens == start + later * MINUTE
        due = _due(looked, minute, seconds)
        if due is not None:
            assert opening.deadline(moment, seconds) == pytest.approx(start + due)


def _due(looked: list[bool], minute: int, seconds: int) -> float | None:
    """Seconds after the start when so many of open time have gone by, within what was looked at."""
    left = float(seconds)
    for n in range(minute, SPAN):
        if looked[n]:
            if left <= MINUTE:
                return n * MINUTE + left
            left -= MINUTE
    return None


# ------------------------------------------------------------------------------------------------- reading


def test_days_are_read_as_ranges_lists_and_words() -> None:
    def days(text: str) -> list[int]:
        return [shift.day for shift in parse(f"{text} 08:00-18:00")]

    assert days("seg-sex") == [0, 1, 2, 3, 4]
    assert days("sex-seg") == [4, 5, 6, 0]
    assert days("Sáb, dom") == [5, 6] == days("sab,DOM")
    assert days("seg - qua,sex") == [0, 1, 2, 4]
    assert days("todos") == list(range(len(DAYS)))
    assert days("feriados") == [HOLIDAY] == days("feriado")


def test_times_are_read_to_the_minute_and_over_midnight() -> None:
    assert parse("seg 8:05-24:00") == [Shift(0, 485, 1440)]
    assert parse("dom 22:30 – 02:15") == [Shift(6, 1350, 1575)]
    assert parse("seg 22:00-00:00") == [Shift(0, 1320, 1440)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "forma"),
        ("08:00-18:00", "forma"),
        ("seg-sex", "forma"),
        ("seg-sex 8h-18h", "forma"),
        ("seg-sex 08:00-18:00 e sáb", "forma"),
        ("fun 08:00-18:00", '"fun" não é um dia'),
        ("seg-fun 08:00-18:00", '"fun" não é um dia'),
        ("seg-feriados 08:00-18:00", "intervalo"),
        ("seg 25:00-26:00", "25:00 não é uma hora"),
        ("seg 08:60-18:00", "08:60 não é uma hora"),
        ("seg 08:00-24:01", "24:01 não é uma hora"),
        ("seg 24:00-08:00", "abre às 24:00"),
        ("seg 08:00-08:00", "mesma hora"),
    ],
)
def test_hours_that_mean_nothing_are_refused_with_a_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(text)


def test_an_instant_is_written_for_programs_and_for_people() -> None:
    moment = at("2026-11-30T08:00")
    assert rfc3339(moment, SAO_PAULO) == "2026-11-30T08:00:00-03:00"
    assert in_words(moment, SAO_PAULO) == "segunda-feira, 30/11, às 08:00"
