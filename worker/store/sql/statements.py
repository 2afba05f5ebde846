"""Statements of the hot path: built and compiled once, then executed by the driver.

SQLAlchemy needs ten times as long to build a statement as SQLite needs to run it, and five times as long to
execute it. The transaction around them stays SQLAlchemy's.
"""

from collections import namedtuple
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import wraps
from typing import Any, NamedTuple

from sqlalchemy import BindParameter, Dialect, Insert, Select, Update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.sql.visitors import replacement_traverse
from sqlalchemy.types import TypeEngine

from worker.store.sql.connections import driver_of
from worker.store.sql.tables import Tables

_Built = Select[Any] | Insert | Update


class StatementResult(NamedTuple):
    """Rows and row count of an executed statement. The rows have the columns' names."""

    rows: Sequence[Any]
    rowcount: int

    def first(self) -> Any:
        """The first row, or None."""
        return self.rows[0] if self.rows else None

    def scalar(self) -> Any:
        """The first row's first value, or None."""
        return self.rows[0][0] if self.rows else None


Statement = Callable[..., Awaitable[StatementResult]]
"""A prepared statement: call it to run it."""


def prepared(build: Callable[..., _Built]) -> Statement:
    """Turn a function that builds a statement into one that runs it: `await name(connection, tables, x=1)`.

    The keywords are the values of its `bindparam`s. Arguments after the tables go to `build` as well: each
    variant is a statement of its own, and all of them are kept with the tables.
    """

    @wraps(build)
    async def run(
        connection: AsyncConnection, tables: Tables, *variant: Hashable, **values: Any
    ) -> StatementResult:
        key = run, connection.dialect.name, variant
        compiled_statement = tables.prepared.get(key)
        if compiled_statement is None:
            compiled_statement = tables.prepared[key] = CompiledStatement(
                build(tables, *variant), connection.dialect
            )
        return await compiled_statement.run(connection, values)

    return run


class CompiledStatement:
    """One statement for one kind of database: its text, and the conversions of its values."""

    def __init__(self, statement: _Built, dialect: Dialect) -> None:
        compiled = with_inlined_constants(statement).compile(dialect=dialect)
        processors = {name: bind_processors(bind.type, dialect) for name, bind in compiled.binds.items()}
        self._bind_processors = {
            name: processors[name] for name, bind in compiled.binds.items() if bind.required
        }
        expanded = compiled.construct_expanded_state(dict.fromkeys(self._bind_processors))
        self._sql, self._positions = expanded.statement, expanded.positiontup
        constant = expanded.parameters.keys() - self._bind_processors.keys()
        self._constant = {
            name: processors.get(name, _unchanged)(expanded.parameters[name]) for name in constant
        }
        self._columns = list(statement.exported_columns)
        names = [column.name for column in self._columns]
        self._row: Callable[..., Any] = namedtuple("Row", names)  # type: ignore[misc]  # not known to it
        self._dialect = dialect
        self.result_processors: Sequence[tuple[int, Callable[[Any], Any]]] | None = None

    async def run(self, connection: AsyncConnection, values: dict[str, Any]) -> StatementResult:
        bound = self._constant | {
            name: process(values[name]) for name, process in self._bind_processors.items()
        }
        parameters = bound if self._positions is None else tuple(bound[name] for name in self._positions)
        cursor = await driver_of(connection).execute(self._sql, parameters)
        if not self._columns:
            return StatementResult((), cursor.rowcount)
        if self.result_processors is None:
            self.result_processors = self._result_processors([column[1] for column in cursor.description])
        return StatementResult([self._read(row) for row in await cursor.fetchall()], cursor.rowcount)

    def _result_processors(self, types: Sequence[Any]) -> Sequence[tuple[int, Callable[[Any], Any]]]:
        """The conversions of the result's columns, by index, for the driver's column types."""
        column_types = [column.type.dialect_impl(self._dialect) for column in self._columns]
        processors = map(
            lambda kind, driver_type: kind.result_processor(self._dialect, driver_type), column_types, types
        )
        return [(index, process) for index, process in enumerate(processors) if process is not None]

    def _read(self, row: Sequence[Any]) -> Any:
        values = list(row)
        for index, process in self.result_processors or ():
            values[index] = process(values[index])
        return self._row(*values)


def with_inlined_constants(statement: _Built) -> Any:
    """The statement with its constants in the text: SQLite uses a partial index only for a constant."""

    def constant(element: Any, **_: Any) -> BindParameter[Any] | None:
        if isinstance(element, BindParameter) and not element.required:
            return element.render_literal_execute()
        return None

    return replacement_traverse(statement, {}, constant)


def bind_processors(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any]:
    return kind.dialect_impl(dialect).bind_processor(dialect) or _unchanged


def _unchanged(value: Any) -> Any:
    return value
