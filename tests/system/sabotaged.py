"""The worker with defects that carry personal values: `python -m tests.system.sabotaged run`.

Each is where code of ours, or of a library, could one day raise or print what a customer said. What
sets it off is a word in the data; everything else in this process works as ever.
"""

import asyncio
import logging
import threading
import warnings
from collections.abc import Callable, Mapping
from typing import Any

from worker.catalog import Catalog
from worker.cli import main
from worker.engine.advance import RunDriver
from worker.engine.watched_runs import WatchedRun
from worker.model import CallRecord
from worker.personal import Personal
from worker.store.queries.records import Records
from worker.tools.crm import Crm

SETS_OFF = "defeito"
FATAL_RUN = "run_defeito"

_kept: list[object] = []


def sabotage(put_in: Callable[[object, str, object], None] = setattr) -> None:  # noqa: C901  # four defects, each simple
    """Put the defects in."""
    setor, open_, advance, put = Catalog.setor, Crm.open, RunDriver.advance, Records.put_conversation

    def plans(self: Catalog, text: str) -> Any:
        if SETS_OFF in text:
            raise ValueError(text)
        return setor(self, text)

    async def performs(self: Crm, call: CallRecord, attempts: Any) -> Any:
        said = call.body.reveal() if call.body else ""
        if SETS_OFF in said:
            raise RuntimeError(said)
        return await open_(self, call, attempts)

    async def steps(self: RunDriver, watch: WatchedRun, looked: Any) -> None:
        if watch.run_id == FATAL_RUN:
            raise KeyError(_known(_kept))
        await advance(self, watch, looked)

    async def puts(self: Records, conversation_id: str, changes: Mapping[str, object]) -> Any:
        if conversation_id == SETS_OFF:
            _kept.append(changes)
            _chatter(_known([changes]))
            raise RuntimeError(_known([changes]))
        return await put(self, conversation_id, changes)

    for owner, name, defect in (
        (Catalog, "setor", plans),
        (Crm, "open", performs),
        (RunDriver, "advance", steps),
        (Records, "put_conversation", puts),
    ):
        put_in(owner, name, defect)


def _known(changes: list[Any]) -> str:
    return " ".join(
        value.reveal() for each in changes for value in each.values() if isinstance(value, Personal)
    )


def _chatter(said: str) -> None:
    """What a library may do with a value: log it in every way, warn, die in a thread or in a task."""
    logger = logging.getLogger("estranho")
    logger.error(said)
    logger.error("pedido de %s", said)
    logger.debug(f"pedido de {said}")  # noqa: G004  # the fault is the point
    try:
        raise LookupError(said)
    except LookupError:
        logger.exception("falhou %s", said)
    warnings.warn(said, RuntimeWarning, stacklevel=1)
    thread = threading.Thread(target=int, args=(said,))
    thread.start()
    thread.join()
    asyncio.get_running_loop().call_soon(int, said)


if __name__ == "__main__":
    sabotage()
    main.main()
