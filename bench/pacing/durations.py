"""How long runs take to want something: five kinds of times, drawn the same in every run."""

import math
import random

RUNS = 6_000


def _tight(rng: random.Random, _: float) -> float:
    return max(0.3, rng.gauss(4.0, 0.3))


def _long_tail(rng: random.Random, _: float) -> float:
    return rng.lognormvariate(math.log(3.0), 0.9)


def two_kinds(rng: random.Random, _: float) -> float:
    """Seconds of one run: most are quick, one in five is not."""
    slow = rng.random() < 0.2
    return rng.lognormvariate(math.log(25.0), 0.4) if slow else rng.lognormvariate(math.log(2.0), 0.3)


def _drifting(rng: random.Random, progress: float) -> float:
    return rng.lognormvariate(math.log(_median(progress)), 0.2)


def _median(progress: float) -> float:
    """From 2 s to 8 s and slowly back, then suddenly 6 s."""
    return 6.0 if progress > 0.8 else 5.0 - 3.0 * math.cos(2 * math.pi * progress / 0.8)


def _memoryless(rng: random.Random, _: float) -> float:
    return rng.expovariate(1 / 3.0)


def seeded(*seed: object) -> random.Random:
    """Dice that fall the same in every run."""
    return random.Random(str(seed))  # noqa: S311  # a simulation, no secret


DISTRIBUTIONS = {
    "tight": (_tight, "normal, mean 4 s, deviation 0.3 s"),
    "long tail": (_long_tail, "lognormal, median 3 s, σ 0.9 (p99 24 s)"),
    "two kinds": (two_kinds, "four in five about 2 s, one in five about 25 s (it searches files first)"),
    "drifting": (_drifting, "lognormal, σ 0.2, median from 2 s to 8 s and back, then suddenly 6 s"),
    "memoryless": (
        _memoryless,
        "exponential, mean 3 s: having waited tells nothing, so a fixed interval is best",
    ),
}


def times(name: str, runs: int = RUNS, seed: int = 7) -> list[float]:
    """How long each of so many runs takes to want something. Seconds."""
    draw, _ = DISTRIBUTIONS[name]
    rng = seeded(name, seed)
    return [draw(rng, number / runs) for number in range(runs)]
