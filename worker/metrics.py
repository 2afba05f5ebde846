"""The metrics for Prometheus (contract §7). Names begin with `ticket_worker_`; no label names a customer."""

import math
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from worker.kpis import KPIS

registry = CollectorRegistry()

_PREFIX = "ticket_worker"


def _counter(name: str, what: str, *labels: str) -> Counter:
    return Counter(name, what, labels, namespace=_PREFIX, registry=registry)


def _gauge(name: str, what: str, *labels: str) -> Gauge:
    return Gauge(name, what, labels, namespace=_PREFIX, registry=registry)


calls = _counter("calls", "Calls by outcome.", "tool", "state")
attempts_failed = _counter("attempts_failed", "Attempts that brought no readable 2xx.", "tool", "certain")
answers_reused = _counter("answers_reused", "Answers told again instead of done again.")
duplicate_tickets = _counter("duplicate_tickets", "Second tickets of one call: both are kept, and shown.")
runs_closed = _counter("runs_closed", "Runs by how they ended.", "state", "reason")
orphan_responses = _counter("orphan_responses", "Continuations that may exist beside the one watched.")
defects = _counter("defects", "Defects that were kept to the run, call or item they concern.", "of")
log_redactions = _counter(
    "log_redactions", "Personal values caught on their way to a log: 0, or a defect.", "shape"
)
webhooks_dropped = _counter("webhooks_dropped", "Webhooks about nothing we know.")
platform_errors = _counter("platform_errors", "Requests that the platform answered with an error.", "status")
platform_up = _gauge(
    "platform_up", "0 while the platform does not answer, or refuses the key; NaN: not asked."
)
platform_outage = _gauge("platform_outage_began_seconds", "When the outage that goes on began.", "status")
replies = _counter("replies", "Replies by what their check came to.", "verdict")
database_errors = _counter("database_errors", "Failures of the database that say it is away.", "status")
database_up = _gauge("database_up", "0 while the database does not answer.")
database_outage = _gauge("database_outage_began_seconds", "When the outage that goes on began.", "status")
bot_errors = _counter("bot_errors", "Events that the bot did not take.", "status")
bot_up = _gauge("bot_up", "0 while the bot does not take events.")
bot_outage = _gauge("bot_outage_began_seconds", "When the outage that goes on began.", "status")
disk_free_bytes = _gauge("disk_free_bytes", "Free space where the worker writes.", "place")
runs_watched = _gauge("runs_watched", "Runs this process watches.")
schema_drift = _gauge("schema_drift", "1 where an assistant's functions differ from ours.", "assistant")
breaker_open = _gauge("breaker_open", "1 while the breaker towards the CRM is open.")
breaker_paused_seconds = _gauge(
    "breaker_paused_seconds", "Until the CRM is tried again; 0 while it is sent to."
)
loop_tick_age_seconds = _gauge("loop_tick_age_seconds", "Since the loop last looked for work.")
events_oldest_seconds = _gauge("events_oldest_seconds", "Age of the oldest event the bot has not taken yet.")
events_stuck = _gauge("events_stuck", "Events given up after 72 h: a person is needed.")
handoffs_waiting = _gauge("handoffs_waiting", "Hand-offs nobody has accepted.")
handoffs_oldest_seconds = _gauge("handoffs_oldest_seconds", "How long the first of them has waited.")
handoffs_overdue = _gauge("handoffs_overdue", "Hand-offs nobody has accepted by their deadline.")
kpi = _gauge("kpi", "The KPIs of the last 24 h (contract §7); NaN: nothing to judge.", "kpi")
kpi_target = _gauge("kpi_target", "What the mission asks of a KPI (contract §7).", "kpi")
ticket_seconds = Histogram(
    "ticket_seconds",
    "From the call to its outcome.",
    namespace=_PREFIX,
    registry=registry,
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)
platform_up.set(math.nan)
database_up.set(1)
for _kpi in KPIS:
    if _kpi.target is not None:
        kpi_target.labels(_kpi.name).set(_kpi.target.bound)


def exposition() -> bytes:
    """All metrics in Prometheus' text format."""
    return generate_latest(registry)


@dataclass(frozen=True, slots=True)
class Vitals:
    """What this process's gauges tell. `drifted`: the assistants whose functions differ from ours.

    `tick_age_s`: seconds since the loop last looked for work.
    """

    breaker_open: bool = False
    #: Seconds until an open breaker lets a trial through.
    breaker_paused_s: float = 0.0
    tick_age_s: float = 0.0
    runs_watched: int = 0
    drifted: tuple[str, ...] = ()
    #: Assistants whose functions were compared with ours.
    compared: int = 0
    #: The platform does not answer, or refuses the key; None: it was not asked yet.
    platform_failing: bool | None = None
    #: HTTP status of the platform's outage (`none`: no answer) and when it began, seconds since the epoch.
    platform_outage: tuple[str, float] | None = None
    #: Cause of an outage that goes on, a short code, and when it began, seconds since the epoch.
    database_outage: tuple[str, float] | None = None
    bot_outage: tuple[str, float] | None = None


def vitals() -> Vitals:
    """At this moment."""
    (drift,) = schema_drift.collect()
    return Vitals(
        breaker_open=bool(_value(breaker_open)),
        breaker_paused_s=_value(breaker_paused_seconds),
        tick_age_s=_value(loop_tick_age_seconds),
        runs_watched=round(_value(runs_watched)),
        platform_failing=None if math.isnan(up := _value(platform_up)) else not up,
        database_outage=_outage(database_outage),
        bot_outage=_outage(bot_outage),
        compared=len(drift.samples),
        drifted=tuple(sorted(one.labels["assistant"] for one in drift.samples if one.value)),
        platform_outage=_outage(platform_outage),
    )


def _outage(gauge: Gauge) -> tuple[str, float] | None:
    """The cause that the gauge has as its label, and the value; None while it has no sample."""
    (family,) = gauge.collect()
    return next(((one.labels["status"], one.value) for one in family.samples), None)


def _value(gauge: Gauge) -> float:
    (family,) = gauge.collect()
    return family.samples[0].value
