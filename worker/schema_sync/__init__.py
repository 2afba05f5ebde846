"""What the model is shown of our functions, kept the same on the platform (contract §8)."""

from worker.schema_sync.functions import Json, load
from worker.schema_sync.instructions import RULES, BrokenMarkers
from worker.schema_sync.plan import Plan, Wanted, plan
from worker.schema_sync.sentences import diff, printable, sentence, summary
from worker.schema_sync.sync import (
    BACKUPS,
    Definitions,
    NotApplied,
    NotComplete,
    NotSaved,
    apply,
    compare,
    drift,
)

__all__ = [
    "BACKUPS",
    "RULES",
    "BrokenMarkers",
    "Definitions",
    "Json",
    "NotApplied",
    "NotComplete",
    "NotSaved",
    "Plan",
    "Wanted",
    "apply",
    "compare",
    "diff",
    "drift",
    "load",
    "plan",
    "printable",
    "sentence",
    "summary",
]
