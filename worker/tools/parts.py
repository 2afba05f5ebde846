"""What tools are built from: each takes what it needs."""

from dataclasses import dataclass
from typing import Protocol, Self

from worker.catalog import Catalog
from worker.ports import Tool
from worker.settings import Settings
from worker.tools.crm import Crm


@dataclass(frozen=True, slots=True)
class ToolParts:
    """The collaborators that `wiring` offers to tools."""

    settings: Settings
    catalog: Catalog
    crm: Crm


class BuildableTool(Tool, Protocol):
    """A tool of the worker's own: it says what it is before it is built."""

    @classmethod
    def build(cls, parts: ToolParts) -> Self: ...
