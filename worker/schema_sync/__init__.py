"""What the model is shown of our functions, kept the same on the platform (contract §8)."""

from worker.schema_sync.functions import Json, load
from worker.schema_sync.instructions import RULES, BrokenMarkers
from worker.schema_sync.plan import Difference, Envelope, Plan, Wanted, plan
from worker.schema_sync.sync import (
    BACKUPS,
    Definitions,
    NotApplied,
    NotSaved,
    Result,
    compare,
    drift,
    sync,
)

__all__ = [
    "BACKUPS",
    "RULES",
    "BrokenMarkers",
    "Definitions",
    "Difference",
    "Envelope",
    "Json",
    "NotApplied",
    "NotSaved",
    "Plan",
    "Result",
    "Wanted",
    "compare",
    "drift",
    "load",
    "plan",
    "sync",
]
