"""An operator at a shell beside the daemon's database, for tests of the commands."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from typer.testing import CliRunner, Result

from tests.databases import KEY
from tests.store.harness import REFUSED, TICKET, Rig
from worker.cli.main import cli
from worker.model import CallRecord, Outcome
from worker.personal import Personal
from worker.settings import Settings
from worker.store.store import Store
from worker.views import DaemonReport

T = TypeVar("T")

RESUMO = "Maria Marcada pagou R$ 150,00"
BODY = {"documento": "52998224725", "resumo": RESUMO, "setor": "FINANCEIRO", "motivo": "PAGAMENTO"}
SENT = replace(TICKET, body=Personal.json(BODY | {"finalizar": "N"}))
BOT = {"BOT_WEBHOOK_URL": "http://127.0.0.1:9/bot", "BOT_WEBHOOK_SECRET": "whsec_c2VncmVkbw=="}


async def daemon_lives(rig: Rig) -> None:
    """As if a daemon had just reported."""
    report = DaemonReport("host:1:a", "1.0", (), breaker_open=False, platform_failing=None)
    await rig.store.daemons.report(report)


class CliRig:
    """An operator's shell beside a database that a daemon has made, and left."""

    def __init__(self, make_settings: Callable[..., Settings], database_url: str) -> None:
        self._make_settings = make_settings
        self.env = {"DATABASE_URL": database_url, "DATA_KEYS": KEY, **BOT}

    def daemon(self, work: Callable[[Rig], Awaitable[T]]) -> T:
        """Something that happens in the daemon."""

        async def beginning_to_end() -> T:
            store = await Store.open(self._make_settings(**self.env), "assistants", owner=True)
            try:
                rig = Rig(store)
                await rig.conversation()
                return await work(rig)
            finally:
                await store.close()

        return asyncio.run(beginning_to_end())

    def ticket(self, outcome: Outcome = REFUSED) -> CallRecord:
        """A ticket that was tried once and came to this."""

        async def work(rig: Rig) -> CallRecord:
            record = await rig.attempted(await rig.admit(await rig.run(), 1, SENT), certain=True)
            return await rig.settled(record, outcome)

        return self.daemon(work)

    def run(self, *words: str, **env: str | None) -> Result:
        return CliRunner().invoke(cli, words, env={**self.env, **env}, catch_exceptions=False)
