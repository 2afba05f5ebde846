"""Statements of the hot path: built and compiled once, then run by the driver itself.

SQLAlchemy takes ten times longer to build a statement than SQLite does to run it, and five times longer to
have it run. The transaction around them stays SQLAlchemy's.
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


class Found(NamedTuple):
    """What a statement brought: rows, which have its columns' names, and how many it changed."""

    rows: Sequence[Any]
    rowcount: int

    def first(self) -> Any:
        """The first row, or None."""
        return self.rows[0] if self.rows else None

    def scalar(self) -> Any:
        """The first row's first value, or None."""
        return self.rows[0][0] if self.rows else None


Statement = Callable[..., Awaitable[Found]]
"""A prepared statement, to be run."""


def prepared(build: Callable[..., _Built]) -> Statement:
    """Turn a function that builds a statement into one that runs it: `await name(connection, tables, x=1)`.

    The keywords are the values of its `bindparam`s. Arguments after the tables go to `build` as well: each
    variant is a statement of its own, and all of them are kept with the tables.
    """

    @wraps(build)
    async def run(connection: AsyncConnection, tables: Tables, *variant: Hashable, **values: Any) -> Found:
        key = run, connection.dialect.name, variant
        ready = tables.prepared.get(key)
        if ready is None:
            ready = tables.prepared[key] = CompiledStatement(build(tables, *variant), connection.dialect)
        return await ready.run(connection, values)

    return run


class CompiledStatement:
    """One statement for one kind of database: its text, and what becomes of values on their way."""

    def __init__(self, statement: _Built, dialect: Dialect) -> None:
        compiled = with_inlined_constants(statement).compile(dialect=dialect)
        inward = {name: bind_processors(bind.type, dialect) for name, bind in compiled.binds.items()}
        self._given = {name: inward[name] for name, bind in compiled.binds.items() if bind.required}
        written = compiled.construct_expanded_state(dict.fromkeys(self._given))
        self._sql, self._order = written.statement, written.positiontup
        constant = written.parameters.keys() - self._given.keys()
        self._constant = {name: inward.get(name, _as_it_is)(written.parameters[name]) for name in constant}
        self._columns = list(statement.exported_columns)
        names = [column.name for column in self._columns]
        self._row: Callable[..., Any] = namedtuple("Row", names)  # type: ignore[misc]  # not known to it
        self._dialect = dialect
        self.result_processors: Sequence[tuple[int, Callable[[Any], Any]]] | None = None

    async def run(self, connection: AsyncConnection, values: dict[str, Any]) -> Found:
        told = self._constant | {name: change(values[name]) for name, change in self._given.items()}
        parameters = told if self._order is None else tuple(told[name] for name in self._order)
        cursor = await driver_of(connection).execute(self._sql, parameters)
        if not self._columns:
            return Found((), cursor.rowcount)
        if self.result_processors is None:
            self.result_processors = self._changes([column[1] for column in cursor.description])
        return Found([self._read(row) for row in await cursor.fetchall()], cursor.rowcount)

    def _changes(self, types: Sequence[Any]) -> Sequence[tuple[int, Callable[[Any], Any]]]:
        """What becomes of which values on their way out, by the types the driver says they have."""
        kinds = [column.type.dialect_impl(self._dialect) for column in self._columns]
        changes = map(lambda kind, said: kind.result_processor(self._dialect, said), kinds, types)
        return [(place, change) for place, change in enumerate(changes) if change is not None]

    def _read(self, row: Sequence[Any]) -> Any:
        values = list(row)
        for place, change in self.result_processors or ():
            values[place] = change(values[place])
        return self._row(*values)


def with_inlined_constants(statement: _Built) -> Any:
    """With its constants in the text: SQLite plans anew for each value that decides about a partial index."""

    def constant(element: Any, **_: Any) -> BindParameter[Any] | None:
        if isinstance(element, BindParameter) and not element.required:
            return element.render_literal_execute()
        return None

    return replacement_traverse(statement, {}, constant)


def bind_processors(kind: TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any]:
    return kind.dialect_impl(dialect).bind_processor(dialect) or _as_it_is


def _as_it_is(value: Any) -> Any:
    return value
