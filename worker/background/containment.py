"""Contains defects of side tasks: only a database that cannot record ends the daemon."""

from collections.abc import Callable, Coroutine

from worker import logs, metrics
from worker.errors import ConfigError, StoreError
from worker.ports import Clock

_FIRST_S, _LAST_S = 1.0, 300.0


async def keep_going(name: str, task: Callable[[], Coroutine[object, object, None]], clock: Clock) -> None:
    """Run a side task until it returns. After a defect it begins again, after a growing delay.

    Raises `StoreError` and `ConfigError`, as they are or in the group that the task raised.
    """
    wait_s = _FIRST_S
    while True:
        try:
            return await task()
        except Exception as error:  # the other tasks go on after any defect
            if is_operators(error):
                raise
            metrics.defects.labels(name).inc()
            logs.failure("defeito numa tarefa do worker: ela recomeça mais tarde | {name}", error, name=name)
        await clock.sleep(wait_s)
        wait_s = min(_LAST_S, 2 * wait_s)


def is_operators(error: BaseException) -> bool:
    """Whether an operator must act: the database cannot record, or the configuration must change."""
    if isinstance(error, BaseExceptionGroup):
        return any(map(is_operators, error.exceptions))
    return isinstance(error, (StoreError, ConfigError))
