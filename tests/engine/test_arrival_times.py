"""What is learned of how long runs take, and the looks that follow from it."""

import bisect
import itertools
import math
import random
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from worker.engine import arrival_times
from worker.engine.arrival_times import EDGES, Bounds, Habit, Habits, plan

BOUNDS = Bounds(minimum=0.25, maximum=5.0, price=0.125)
AGES = st.floats(0.0, 2000.0)
BRACKETS = st.lists(st.tuples(AGES, AGES).map(sorted), max_size=30)


def taught(brackets: Sequence[Sequence[float]], bounds: Bounds = BOUNDS) -> Habit:
    habit = Habit(bounds)
    for after, by in brackets:
        habit.observe(after, by)
    return habit


def looks_of(habit: Habit, until: float) -> list[float]:
    """The ages at which a run that never has anything to say is looked at."""
    looks = [habit.next_look(0.0)]
    while looks[-1] < until:
        looks.append(habit.next_look(looks[-1]))
    return looks


def cost(edges: Sequence[float], mass: Sequence[float], price: float, looks: Sequence[float]) -> float:
    """Of looking at these edges: `price` each while nothing was found, and the waits until they find it."""
    total, before = 0.0, 0.0
    for look in looks:
        total += price * sum(mass[i] for i in range(len(mass)) if edges[i] >= before)
        total += sum(
            mass[i] * (look - (edges[i] + edges[i + 1]) / 2)
            for i in range(len(mass))
            if before <= edges[i] < look
        )
        before = look
    return total


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=7),
    st.lists(st.floats(0.1, 2.0), min_size=8, max_size=8),
    st.floats(0.0, 2.0),
)
def test_no_other_choice_of_looks_costs_less_than_the_plan(
    mass: list[float], widths: list[float], price: float
) -> None:
    edges = [0.0, *itertools.accumulate(widths[: len(mass)])]
    following = plan(edges, mass, Bounds(0.0, math.inf, price))
    looks, at = [], 0
    while at < len(mass):
        looks.append(following[at])
        at = edges.index(following[at])
    choices = itertools.chain.from_iterable(
        itertools.combinations(edges[1:-1], count) for count in range(len(mass))
    )
    cheapest = min(cost(edges, mass, price, [*choice, edges[-1]]) for choice in choices)
    assert cost(edges, mass, price, looks) == pytest.approx(cheapest, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(BRACKETS, AGES)
@example([(0.0, 0.0)], 0.0)
@example([(2000.0, 2000.0), (0.0, 2000.0)], 900.0)
def test_two_looks_are_never_nearer_than_the_minimum_nor_further_than_the_maximum(
    brackets: list[list[float]], age: float
) -> None:
    look = taught(brackets).next_look(age)
    assert age + BOUNDS.minimum <= look <= age + BOUNDS.maximum


@settings(max_examples=60, deadline=None)
@given(BRACKETS, st.tuples(AGES, AGES).map(sorted))
def test_who_looked_later_looks_again_later(brackets: list[list[float]], ages: list[float]) -> None:
    habit = taught(brackets)
    assert habit.next_look(ages[0]) <= habit.next_look(ages[1])


@settings(max_examples=60, deadline=None)
@given(BRACKETS)
def test_every_observation_counts_once_and_lies_within_its_bracket(brackets: list[list[float]]) -> None:
    habit = taught(brackets)
    assert sum(habit.density(0, len(EDGES) - 1)) == pytest.approx(habit.seen + arrival_times._PRIOR)
    assert habit.seen <= len(brackets)
    if brackets:
        before = taught(brackets[:-1])
        last, (after, by) = len(EDGES) - 1, brackets[-1]
        grown = [i for i, (new, old) in enumerate(zip(habit._mass, before._mass, strict=True)) if new != old]
        assert all(EDGES[i] <= by and (after < EDGES[i + 1] or i == last - 1) for i in grown)


def test_what_was_seen_long_ago_counts_ever_less_and_never_for_nothing() -> None:
    habit = taught([[1.0, 1.1]] + [[5.0, 5.1]] * 5000)  # worth is scaled down on the way
    assert habit.seen == pytest.approx(arrival_times._MEMORY)
    assert sum(habit.density(0, len(EDGES) - 1)) == pytest.approx(habit.seen + arrival_times._PRIOR)
    below_2s = bisect.bisect(EDGES, 2.0)
    of_the_first = sum(habit.density(0, below_2s)) - arrival_times._PRIOR * below_2s / (len(EDGES) - 1)
    assert of_the_first == pytest.approx(0.0, abs=1e-6)
    recent = taught([[1.0, 1.1]] * 300 + [[5.0, 5.1]] * 300)
    left = arrival_times._MEMORY * (1 - arrival_times._FADING**300) * arrival_times._FADING**300
    assert sum(recent.density(0, below_2s)) == pytest.approx(left, rel=0.05)


def test_nothing_known_looks_often_at_first_and_ever_less() -> None:
    looks = looks_of(Habit(BOUNDS), 60.0)
    gaps = [later - sooner for sooner, later in itertools.pairwise([0.0, *looks])]
    assert gaps[0] < 1.0
    assert gaps[-1] > 3.0
    assert len(looks) < 30


def test_runs_that_take_four_seconds_are_looked_at_after_four_seconds() -> None:
    habit, rng = Habit(BOUNDS), random.Random(1)
    for _ in range(300):
        lasts = rng.gauss(4.0, 0.2)
        habit.observe(lasts - rng.random(), lasts + rng.random())
    looks = looks_of(habit, 4.4)
    assert 3.7 < looks[0] < 4.5
    assert len(looks) <= 3


def test_brackets_that_overlap_in_one_place_are_believed_there() -> None:
    """Each bracket is two seconds wide; only their common part, 4.0 to 4.2 s, is in all of them."""
    habit, rng = Habit(BOUNDS), random.Random(1)
    for _ in range(400):
        start = rng.uniform(2.2, 4.0)
        habit.observe(start, start + 2.0)
    mass = habit.density(0, len(EDGES) - 1)
    near = sum(weight for weight, edge in zip(mass, EDGES, strict=False) if 3.8 < edge < 4.3)
    assert near > 0.7 * sum(mass)


def test_what_changes_is_followed() -> None:
    habit = taught([(1.9, 2.1)] * 500)
    assert habit.next_look(0.0) < 2.5
    for _ in range(1500):
        habit.observe(3.9, 4.1)
    assert habit.next_look(0.0) > 3.5


def test_a_first_look_that_comes_late_teaches_nothing() -> None:
    """A run long known that wants something when it is first looked at may have wanted it for ever."""
    habit = taught([(3.9, 4.1)] * 300)
    looks = looks_of(habit, 8.0)
    for _ in range(20):
        habit.observe(0.0, 900.0)
    assert looks_of(habit, 8.0) == pytest.approx(looks, rel=0.1)


# ---------------------------------------------------------------------------------------- whose runs they are


def test_assistants_are_told_apart_and_first_calls_from_what_follows_an_answer() -> None:
    habits = Habits(BOUNDS)
    for _ in range(200):
        habits.observe("asst_quick", 0.9, 1.1, first=True)
        habits.observe("asst_slow", 3.9, 4.1, first=True)
        habits.observe("asst_slow", 1.9, 2.1, first=False)
    quick, slow, again = (
        habits.of(assistant, first=first).next_look(0.0)
        for assistant, first in (("asst_quick", True), ("asst_slow", True), ("asst_slow", False))
    )
    assert quick < 1.5
    assert 1.5 < again < 2.5
    assert slow > 3.5


@pytest.mark.parametrize("assistant", [None, "asst_never_seen"])
def test_an_unknown_assistant_is_taken_for_one_of_all(assistant: str | None) -> None:
    habits = Habits(BOUNDS)
    for _ in range(200):
        habits.observe("asst_slow", 3.9, 4.1, first=True)
        habits.observe(None, 3.9, 4.1, first=True)
    assert habits.of(assistant, first=True).next_look(0.0) > 3.5


def test_a_new_assistant_begins_with_what_is_known_of_all() -> None:
    habits = Habits(BOUNDS)
    for _ in range(200):
        habits.observe("asst_slow", 3.9, 4.1, first=True)
    habits.observe("asst_new", 3.9, 4.1, first=True)
    assert habits.of("asst_new", first=True).next_look(0.0) > 3.5


def test_only_so_many_assistants_are_remembered_the_latest_ones() -> None:
    habits = Habits(BOUNDS)
    for number in range(1000):
        habits.observe("asst_often", 1.0, 2.0, first=True)
        habits.observe(f"asst_{number}", 1.0, 2.0, first=number % 2 == 0)
    assert len(habits._own) == 2 * arrival_times._KEPT
    assert habits._own["asst_often", True].seen > 100
    assert ("asst_0", True) not in habits._own
