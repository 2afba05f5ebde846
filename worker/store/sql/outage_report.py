"""Log lines and metrics of PostgreSQL's outages, for the daemon."""

from worker import logs, metrics
from worker.store.sql.refusals import Refusal


def started(refusal: Refusal | None, since: float | None) -> None:
    """The daemon begins to probe. `refusal` and `since`: an outage that has begun already."""
    if refusal is None:
        _export_none()
    else:
        failed(refusal, None, since)


def failed(refusal: Refusal, previous: Refusal | None, since: float | None) -> None:
    """The server failed. `previous`: the cause until now; None when this failure begins the outage.

    `since`: when the outage began, seconds since the epoch.
    """
    metrics.database_errors.labels(refusal.code).inc()
    if previous is not None and previous.code == refusal.code:
        return
    _export(refusal, since)
    if previous is None:
        logs.event(
            "! o banco de dados não atende; nada é enviado até ele voltar | code={code}",
            level="ERROR",
            code=refusal.code,
        )
    else:
        logs.event(
            "! o banco de dados continua sem atender, agora por outra causa | code={code}",
            level="ERROR",
            code=refusal.code,
        )


def recovered(lasted_s: float) -> None:
    """The outage has ended after this many seconds."""
    _export_none()
    logs.event("✅ o banco de dados voltou a atender | seconds={seconds}", seconds=lasted_s)


def _export(refusal: Refusal, since: float | None) -> None:
    metrics.database_up.set(0)
    metrics.database_outage.clear()
    if since is not None:
        metrics.database_outage.labels(refusal.code).set(since)


def _export_none() -> None:
    metrics.database_up.set(1)
    metrics.database_outage.clear()
