"""Keeps the function definitions of the assistants equal to this version's (contract §8).

plan = await compare(definitions, "asst_1", Target(load(["abrir_ticket_crm"])))
if plan.changes:
    await apply(definitions, "asst_1", plan, target)
"""

from worker.schema_sync.functions import Json, load
from worker.schema_sync.instructions import RULES, BrokenMarkers
from worker.schema_sync.plan import Plan, Target, plan
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
    "Target",
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
