"""The worker's own loop, tools and store over a temporary database, with a CRM inside the process.

A rehearsal runs the daemon's own code and touches nothing live: the settings that lead to the CRM, the bot
and the database are replaced.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

from cryptography.fernet import Fernet
from pydantic import SecretStr

from worker import wiring
from worker.catalog import Catalog
from worker.engine.lease import Lease
from worker.engine.loop import Worker
from worker.engine.reply_check import ReplyCheck
from worker.model import ReplySource, RunRef, RunState
from worker.personal import Personal
from worker.ports import Clock, Platform
from worker.rehearsal.scenarios import CrmState
from worker.settings import Settings
from worker.simulator.crm import CrmSimulator
from worker.simulator.server import serve
from worker.store.store import Store
from worker.times import SystemClock
from worker.views import CallFilter, CallView, RunView

_LOOK_S = 0.1
"""Seconds between two reads of whether a run has ended."""

TURN_LIMIT_S = 600.0
"""Longest wait for the end of a run: on `agents` nothing expires."""

_CALLS = 200
"""Most calls of one conversation that are read; no run makes more."""


class Stage:
    """One worker with one CRM, on which conversations are played."""

    def __init__(self, store: Store, worker: Worker, clock: Clock) -> None:
        self._store = store
        self._worker = worker
        self._clock = clock
        self._replies = ReplyCheck(store.replies)
        self.running = asyncio.create_task(worker.run())

    async def announce(self, conversation_id: str, ref: RunRef, about: Mapping[str, object]) -> None:
        """Register a conversation and announce its run, as a bot does."""
        await self._store.records.put_conversation(conversation_id, {"thread_id": ref.thread_id, **about})
        await self._store.records.register_run(conversation_id, ref.run_id, ref.thread_id)
        self._worker.wake(ref.run_id)

    async def ended(self, run_id: str, check: Callable[[], None]) -> RunView:
        """Wait until this run and its continuations have ended, at most `TURN_LIMIT_S`. Returns the last one.

        `check` is called before each read and may raise, which ends the wait.
        """
        deadline = self._clock.monotonic() + TURN_LIMIT_S
        while True:
            check()
            run = await self._last(run_id)
            if run.state is not RunState.WATCHING or self._clock.monotonic() > deadline:
                return run
            await self._clock.sleep(_LOOK_S)

    async def chain(self, run_id: str) -> list[str]:
        """The ids of this run and of its continuations, in order."""
        ids, following = [run_id], await self._store.records.run(run_id)
        while following.continues_as is not None:
            ids.append(following.continues_as)
            following = await self._store.records.run(following.continues_as)
        return ids

    async def calls(self, conversation_id: str) -> list[CallView]:
        """The calls of a conversation, oldest first."""
        newest, _ = await self._store.records.calls(CallFilter(conversation_id=conversation_id), limit=_CALLS)
        return list(newest)[::-1]

    async def findings(self, conversation_id: str, run_id: str, reply: str) -> list[str]:
        """Codes of the reply check: claims that the ledger does not support (contract §10)."""
        checked = await self._replies.check(
            conversation_id, Personal(reply), source=ReplySource.RUN, run_id=run_id
        )
        return [finding.code for finding in checked]

    async def stop(self) -> None:
        """Stop the worker and wait for what is in flight."""
        self._worker.stop()
        await asyncio.wait({self.running})

    async def _last(self, run_id: str) -> RunView:
        run = await self._store.records.run(run_id)
        while run.continues_as is not None:
            run = await self._store.records.run(run.continues_as)
        return run


@contextlib.asynccontextmanager
async def open_stage(
    settings: Settings, platform: Platform, catalog: Catalog, crm: CrmState, folder: Path
) -> AsyncIterator[Stage]:
    """A stage whose CRM is in this state and whose database lies in `folder`.

    The platform is not closed. Raises the error that ended the loop.
    """
    async with contextlib.AsyncExitStack() as stack:
        crm_url = await stack.enter_async_context(_serve_crm(crm))
        own = rehearsal_settings(settings, database=folder / f"{crm}.db", crm_url=crm_url)
        store = await Store.open(own, platform.name, owner=True, thread=platform.traits.thread)
        stack.push_async_callback(store.close)
        clock = SystemClock()
        tools = wiring.build_tools(own, catalog, clock, stack)
        worker = wiring.build_worker(own, platform, store, tools, lease=Lease(), clock=clock)
        stage = Stage(store, worker, clock)
        try:
            yield stage
        finally:
            await stage.stop()
        await stage.running


def rehearsal_settings(settings: Settings, *, database: Path, crm_url: str) -> Settings:
    """The operator's settings without anything live: another database and CRM, no bot, no webhooks."""
    defaults = Settings.model_fields
    return settings.model_copy(
        update={
            "DATABASE_URL": f"sqlite:///{database}",
            "DATA_KEYS": SecretStr(Fernet.generate_key().decode()),
            "CRM_WEBHOOK_URL": crm_url,
            "CRM_LOOKUP_URL": None,
            "CRM_AUTH_HEADER": None,
            "CRM_PROTOCOL_PATTERN": defaults["CRM_PROTOCOL_PATTERN"].default,
            "BOT_WEBHOOK_URL": None,
            "BOT_WEBHOOK_SECRET": None,
            "TOOL_FORWARD_URL": None,
            "OPENAI_WEBHOOK_SECRET": None,
            "DISCOVER_INTERVAL_S": 0.0,
            "REPLY_CHECK": "off",  # a conversation has each reply checked itself
            "SHUTDOWN_GRACE_S": min(settings.SHUTDOWN_GRACE_S, 5.0),
        }
    )


@contextlib.asynccontextmanager
async def _serve_crm(state: CrmState) -> AsyncIterator[str]:
    """The URL of a CRM on loopback. For one that is down, a reserved port that nothing listens on."""
    if state is CrmState.DOWN:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            yield f"http://127.0.0.1:{reserved.getsockname()[1]}/"
        return
    crm = CrmSimulator(pairs=None)
    if state is CrmState.NO_PROTOCOLO:
        crm.faults.preset("no_protocolo", times=None)
    async with serve(crm.app) as url:
        yield url + crm.webhook
