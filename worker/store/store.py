"""The store as `worker.wiring` opens it: one database, and one class of operations for each caller."""

from dataclasses import dataclass
from typing import Self
from zoneinfo import ZoneInfo

from worker.model import ThreadRule
from worker.privacy import Vault
from worker.settings import Settings
from worker.store.ledger.admission import Admission
from worker.store.ledger.calls import Calls
from worker.store.ledger.outbox import Outbox
from worker.store.ledger.outcomes import Outcomes
from worker.store.ledger.replies import Replies
from worker.store.log_ids import LogIds
from worker.store.personal_data.access_log import AccessLog
from worker.store.personal_data.erasure import Erasures
from worker.store.personal_data.export import Export
from worker.store.personal_data.rekey import Rekey
from worker.store.personal_data.retention import Retention
from worker.store.queries.board import Board
from worker.store.queries.daemons import Daemons
from worker.store.queries.events import Events
from worker.store.queries.handoffs import Handoffs
from worker.store.queries.history import Histories
from worker.store.queries.operators import Operators
from worker.store.queries.records import Records
from worker.store.runs.arrivals import Arrivals
from worker.store.runs.queue import Runs
from worker.store.runs.webhooks import Webhooks
from worker.store.sql import leases
from worker.store.sql.database import Database


@dataclass(frozen=True, slots=True)
class Store:
    """The operations on one open database, grouped by the part of the product that calls them."""

    database: Database
    #: For the loop.
    runs: Runs
    arrivals: Arrivals
    calls: Calls
    #: For the delivery of events to the bot.
    outbox: Outbox
    #: For the reply check.
    replies: Replies
    #: For the API, the commands and the dashboard.
    records: Records
    operators: Operators
    handoffs: Handoffs
    board: Board
    events: Events
    daemons: Daemons
    histories: Histories
    #: For the platform's webhooks.
    webhooks: Webhooks
    #: For personal data: erasure, retention, export, key rotation, and the log of who read it.
    erasures: Erasures
    retention: Retention
    export: Export
    rekey: Rekey
    accesses: AccessLog
    #: For rows that an older version recorded.
    log_ids: LogIds

    @classmethod
    async def open(
        cls, settings: Settings, platform: str, *, owner: bool, thread: ThreadRule = ThreadRule.REQUIRED
    ) -> Self:
        """Open the database. The owner (`run`) also migrates it and releases the leases that a crash left.

        Raises `ConfigError`: see `Database.open`.
        """
        vault = Vault(settings.data_keys)
        database = await Database(settings.DATABASE_URL, vault).open(owner=owner)
        if owner and database.sqlite:
            await _release_all_leases(database)
        lookup = settings.CRM_LOOKUP_URL is not None
        may_repeat = lookup or settings.CRM_IDEMPOTENT
        outbox = Outbox(database, enabled=settings.BOT_WEBHOOK_URL is not None)
        outcomes = Outcomes(database, outbox, checks=lookup)
        arrivals = Arrivals(database, platform, thread)
        return cls(
            database=database,
            runs=Runs(database, platform, outbox),
            arrivals=arrivals,
            calls=Calls(
                database,
                platform,
                Admission(database, outbox, settings.ATTACHMENT_FRESH_S, ZoneInfo(settings.TIMEZONE)),
                outcomes,
            ),
            outbox=outbox,
            replies=Replies(database, outbox),
            records=Records(database, arrivals),
            operators=Operators(database, outcomes, may_repeat=may_repeat),
            handoffs=Handoffs(database, outbox),
            board=Board(database, may_repeat=may_repeat),
            events=Events(database),
            daemons=Daemons(database),
            histories=Histories(database),
            webhooks=Webhooks(database, arrivals),
            erasures=Erasures(database),
            retention=Retention(
                database,
                payload_days=settings.RETENTION_PAYLOAD_DAYS,
                record_days=settings.RETENTION_RECORD_DAYS,
            ),
            export=Export(database),
            rekey=Rekey(database, vault),
            accesses=AccessLog(database),
            log_ids=LogIds(database),
        )

    async def close(self) -> None:
        await self.database.close()


async def _release_all_leases(database: Database) -> None:
    """Release all leases. On SQLite the owner's lock proves that their holders have ended."""
    tables = database.tables
    async with database.write() as connection:
        for key in (tables.runs.c.run_id, tables.calls.c.call_id, tables.outbox.c.seq):
            await leases.give_back(connection, key, None)
