"""The parts that tools are built from."""

from dataclasses import dataclass
from typing import Protocol, Self

from worker.catalog import Catalog
from worker.ports import Tool
from worker.settings import Settings
from worker.tools.crm import Crm


@dataclass(frozen=True, slots=True)
class ToolParts:
    """The parts that `wiring` passes to each tool; a tool takes those that it needs."""

    settings: Settings
    catalog: Catalog
    crm: Crm


class BuildableTool(Tool, Protocol):
    """One of the worker's own tools. Name, kind and schema are known before it is built."""

    @classmethod
    def build(cls, parts: ToolParts) -> Self: ...
