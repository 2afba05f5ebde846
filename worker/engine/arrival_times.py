"""When runs have something to say: learned from what looks found, and when to look because of it.

A look costs a read, a late look costs waiting. Where times are known, the cheapest times to look follow from
them; here they are learned from the looks themselves, which only ever bracket them.
"""

import bisect
import itertools
from array import array
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

_FIRST_S, _RATIO, _LAST_S = 0.02, 1.04, 900.0

_MEMORY = 200.0
"""After so many more, an observation counts for a third: changes are followed, what is rare is still seen."""

_FADING = 1 - 1 / _MEMORY
_WORTHIEST = 1e9
"""Masses are scaled down before they outgrow a float."""

_PRIOR = 2.0
"""What is known from elsewhere counts as much as this many observations."""

_BLUR = 3
"""So many bins to either side are evened out, twice: a time is known to some 15 %."""

_KEPT = 64
"""Assistants remembered, the least recently seen forgotten first: an id is text from outside."""


def _edges() -> tuple[float, ...]:
    edges = [0.0, _FIRST_S]
    while edges[-1] < _LAST_S:
        edges.append(edges[-1] * _RATIO)
    return tuple(edges)


EDGES = _edges()
"""Bins grow with the age: a time is known to 4 %, from 20 ms to 15 min. Seconds."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Between two looks at one run lie `minimum` to `maximum` s; one look is worth `price` s of waiting."""

    minimum: float
    maximum: float
    price: float


def plan(edges: Sequence[float], mass: Sequence[float], bounds: Bounds) -> "array[float]":
    """For a look at each edge that found nothing: the edge of the next, so that all to come cost least.

    `mass[i]` lies between `edges[i]` and `edges[i + 1]`. The cost is `price` a look, and the wait from when
    a run wants something to the look that sees it. Solved from the end (dynamic programming); an earlier look
    never has a later successor, so each edge tries only what lies before the next edge's choice. Bins wider
    than `maximum` are passed one by one.
    """
    last = len(mass)
    below, moment = _cumulated(edges, mass)
    # cost[j]: of looking at edge j, as far as it does not depend on where the look before it was.
    cost = [0.0] * (last + 1)
    cost[last] = edges[last] * below[last] - moment[last]
    chosen = array("d", edges)
    nearest = furthest = last
    for i in range(last - 1, -1, -1):
        while nearest > i + 1 and edges[nearest - 1] >= edges[i] + bounds.minimum:
            nearest -= 1
        while furthest > nearest and edges[furthest] > edges[i] + bounds.maximum:
            furthest -= 1
        seen = below[i]
        best, least = nearest, cost[nearest] - edges[nearest] * seen
        for j in range(nearest + 1, furthest + 1):
            if (candidate := cost[j] - edges[j] * seen) < least:
                best, least = j, candidate
        chosen[i], furthest = edges[best], best
        after = bounds.price * (below[last] - seen) + least + moment[i]
        cost[i] = edges[i] * seen - moment[i] + after
    return chosen


def _cumulated(edges: Sequence[float], mass: Sequence[float]) -> tuple[list[float], list[float]]:
    """Mass, and mass times age, before each edge."""
    below, moment = [0.0], [0.0]
    for i, weight in enumerate(mass):
        below.append(below[-1] + weight)
        moment.append(moment[-1] + weight * (edges[i] + edges[i + 1]) / 2)
    return below, moment


class Habit:
    """How long some runs take: a fading histogram, and the looks that follow from it.

    Nothing known means: any age is as likely as its double (or what `elsewhere` knows, for a beginning).
    """

    def __init__(self, bounds: Bounds, elsewhere: "Habit | None" = None) -> None:
        self._bounds = bounds
        self._elsewhere = elsewhere
        self._mass = array("d", bytes(8 * (len(EDGES) - 1)))
        self._worth = 1.0  # of one observation more: it grows, so that nothing seen before need be touched
        self.seen = 0.0
        self._unplanned = 0.0
        self._plan = array("d")

    def observe(self, after: float, by: float) -> None:
        """A run had nothing to say at age `after`, and had it at age `by`. When between is not known.

        It is shared out over the ages between as they are likely by now, which ends where the observed
        brackets are likeliest (Turnbull 1976, one step an observation).
        """
        first = _bin(after)
        last = max(first, _bin(by))
        density = self.density(first, last + 1)
        if first < last:
            density[0] *= (EDGES[first + 1] - after) / (EDGES[first + 1] - EDGES[first])
            density[-1] *= max(0.0, min(1.0, (by - EDGES[last]) / (EDGES[last + 1] - EDGES[last])))
        self._worth /= _FADING
        self.seen = self.seen * _FADING + 1
        self._unplanned += 1
        share = self._worth / sum(density)
        for i, weight in enumerate(density, first):
            self._mass[i] += weight * share
        if self._worth > _WORTHIEST:
            self._mass = array("d", [each / self._worth for each in self._mass])
            self._worth = 1.0

    def next_look(self, age: float) -> float:
        """At which age to look next, after a look at this age found nothing. Not before it, and not NaN."""
        if not self._plan or self._unplanned > self.seen / 8:
            density = self.density(0, len(self._mass))
            self._plan = plan(EDGES, _smooth(_smooth(density)), self._bounds)
            self._unplanned = 0.0
        earliest, latest = age + self._bounds.minimum, age + self._bounds.maximum
        if age >= EDGES[-1]:
            return latest
        return max(earliest, min(latest, self._plan[_bin(age * _RATIO**0.5)]))

    def density(self, first: int, last: int) -> list[float]:
        """How many observations lie in each of these bins, with `_PRIOR` known from elsewhere."""
        worth, own = self._worth, self._mass[first:last]
        if self._elsewhere is None:
            each = _PRIOR / len(self._mass)
            return [mass / worth + each for mass in own]
        share = _PRIOR / (self._elsewhere.seen + _PRIOR)
        elsewhere = self._elsewhere.density(first, last)
        return [mass / worth + share * other for mass, other in zip(own, elsewhere, strict=True)]


def _smooth(mass: Sequence[float]) -> list[float]:
    """Each bin evened out with its neighbours: a likeliest histogram has spikes where its times had none."""
    below = list(itertools.accumulate(mass, initial=0.0))
    spans = ((max(0, i - _BLUR), min(len(mass), i + _BLUR + 1)) for i in range(len(mass)))
    return [(below[last] - below[first]) / (last - first) for first, last in spans]


def _bin(age: float) -> int:
    """The bin that holds this age; the last one holds all beyond."""
    return max(0, min(bisect.bisect_right(EDGES, age) - 1, len(EDGES) - 2))


class Habits:
    """What is known of each assistant, of its first calls and of what follows an answer; and of all."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._of_all = {True: Habit(bounds), False: Habit(bounds)}
        self._own: OrderedDict[tuple[str, bool], Habit] = OrderedDict()

    def of(self, assistant: str | None, *, first: bool) -> Habit:
        """What tells best when such a run has something to say."""
        own = self._own.get((assistant, first)) if assistant else None
        return own or self._of_all[first]

    def observe(self, assistant: str | None, after: float, by: float, *, first: bool) -> None:
        """See `Habit.observe`; `first`: since the run was known, not since it was answered."""
        self._of_all[first].observe(after, by)
        if assistant is None:
            return
        key = assistant, first
        if key not in self._own:
            self._own[key] = Habit(self._bounds, self._of_all[first])
        self._own.move_to_end(key)
        self._own[key].observe(after, by)
        if len(self._own) > 2 * _KEPT:
            self._own.popitem(last=False)
