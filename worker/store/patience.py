"""Store operations for background work: they wait during an outage of the database.

An operation is one transaction. One that was lost with its connection is retried as a whole: each operation
recognises what an earlier try has committed (contract §13). Callers of the API do not wait; they are refused.
"""

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from worker.errors import StoreUnavailable
from worker.store.sql.availability import Availability

_Operations = TypeVar("_Operations")


def patient(operations: _Operations, availability: Availability) -> _Operations:
    """The same operations, each of which waits until the database answers."""
    return cast(_Operations, _Patient(operations, availability))


class _Patient:
    def __init__(self, operations: object, availability: Availability) -> None:
        self._operations = operations
        self._availability = availability

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._operations, name)
        if not inspect.iscoroutinefunction(value):
            return value
        patient_operation = _patient_operation(value, self._availability)
        setattr(self, name, patient_operation)  # the next access finds it without `__getattr__`
        return patient_operation


def _patient_operation(
    operation: Callable[..., Awaitable[Any]], availability: Availability
) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(operation)
    async def waiting(*args: Any, **kwargs: Any) -> Any:
        while True:
            try:
                return await operation(*args, **kwargs)
            except StoreUnavailable:
                await availability.wait()

    return waiting
