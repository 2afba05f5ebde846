"""The store as the composition root opens it: one database, three sets of verbs."""

from dataclasses import dataclass
from typing import Self

from worker.privacy import Vault
from worker.settings import Settings
from worker.store.calls import Calls
from worker.store.database import Database
from worker.store.records import Records
from worker.store.runs import Runs


@dataclass(frozen=True, slots=True)
class Store:
    """`runs` and `calls` are the loop's, `records` the API's and the commands'."""

    database: Database
    runs: Runs
    calls: Calls
    records: Records

    @classmethod
    async def open(cls, settings: Settings, platform: str, *, owner: bool) -> Self:
        """Open and migrate the database; the owner (`run`) also takes back what a crash left claimed.

        Raises `ConfigError`: see `Database.open`.
        """
        database = await Database(settings.DATABASE_URL, Vault(settings.data_keys)).open(owner=owner)
        runs = Runs(database, platform)
        if owner and database.sqlite:
            await runs.release_everyone()
        return cls(
            database=database,
            runs=runs,
            calls=Calls(database, platform, settings.ATTACHMENT_FRESH_S),
            records=Records(database, runs),
        )

    async def close(self) -> None:
        await self.database.close()
