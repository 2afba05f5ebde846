"""A side task that meets a defect begins again; only what an operator must mend ends the daemon."""

import pytest

from worker.background.containment import keep_going
from worker.errors import ConfigError, StoreError


class Waits:
    """A clock that keeps count of the waits it was asked for."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return sum(self.waits)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


async def test_a_task_begins_again_ever_later(capfd: pytest.CaptureFixture[str]) -> None:
    clock, begun = Waits(), 0

    async def task() -> None:
        nonlocal begun
        begun += 1
        if begun < 12:
            raise KeyError("a value of the platform")

    await keep_going("gauges", task, clock)
    assert clock.waits == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0]
    assert "defeito numa tarefa do worker" in capfd.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        StoreError("cannot record"),
        ConfigError("wrong"),
        ExceptionGroup("", [ValueError(), ExceptionGroup("", [StoreError("cannot record")])]),
    ],
)
async def test_what_an_operator_must_mend_is_raised(error: Exception) -> None:
    async def task() -> None:
        raise error

    with pytest.raises(type(error)):
        await keep_going("upkeep", task, Waits())
