"""Verbs of the store for those who work beside nobody's request: they wait while the database is away.

A verb is one transaction. One that was lost with its connection is tried again as a whole: each verb finds
what an earlier try has committed (contract §13). Callers of the API are not kept waiting; they are refused.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from worker.errors import StoreUnavailable
from worker.store.sql.availability import Availability

_Verbs = TypeVar("_Verbs")


def patient(verbs: _Verbs, availability: Availability) -> _Verbs:
    """The same verbs, each of which waits until the database answers."""
    return cast(_Verbs, _Patient(verbs, availability))


class _Patient:
    def __init__(self, verbs: object, availability: Availability) -> None:
        self._verbs = verbs
        self._availability = availability

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._verbs, name)
        if not inspect.iscoroutinefunction(value):
            return value
        patient_verb = _patient_verb(value, self._availability)
        setattr(self, name, patient_verb)  # the next time it is found without coming here
        return patient_verb


def _patient_verb(
    verb: Callable[..., Awaitable[Any]], availability: Availability
) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(verb)
    async def waiting(*args: Any, **kwargs: Any) -> Any:
        while True:
            try:
                return await verb(*args, **kwargs)
            except StoreUnavailable:
                await availability.wait()

    return waiting
