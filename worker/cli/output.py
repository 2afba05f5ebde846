"""Prints lists and single records: tables for people, the HTTP API's JSON for programs."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from pydantic import BaseModel
from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from worker.model import CallState
from worker.views import DismissReason, HandoffState
from worker.web.dashboard.words import DISMISSALS, LOST_REASONS, state_word
from worker.web.responses import CallPage, Dismissed, EventPage, HandoffPage, RunPage, SuspectReplyPage

_Value = TypeVar("_Value")

_Page = CallPage | HandoffPage | RunPage | EventPage | SuspectReplyPage

_ROOMY = 140
"""Columns of a terminal on which a call fits on a line."""

_ID = 27
"""Characters of the worker's own ids, which are never folded."""

_COLOURS: dict[str, str] = {
    CallState.DONE: "green",
    CallState.FAILED: "red",
    CallState.UNKNOWN: "yellow",
    CallState.NO_PROTOCOL: "yellow",
    HandoffState.REQUESTED: "yellow",
    HandoffState.ACCEPTED: "green",
}

LABELS = {
    "call_id": "chamada",
    "platform_call_id": "id na plataforma",
    "run_id": "execução",
    "conversation_id": "conversa",
    "tool": "função",
    "state": "estado",
    "error": "erro",
    "attempts": "tentativas",
    "equal_to": "igual a",
    "received_at": "recebida",
    "finished_at": "resultado em",
    "submitted_at": "entregue em",
    "handoff_id": "pedido",
    "requested_at": "solicitado",
    "accepted_at": "assumido",
    "closed_at": "encerramento",
    "returned_at": "devolvido ao bot",
    "opens_at": "atendimento abre",
    "due_at": "prazo",
    "overdue": "fora do prazo",
    "waiting_s": "espera",
    "registered_at": "anunciada",
    "platform_status": "estado na plataforma",
    "reason": "por quê",
    "continues_as": "continua como",
    "thread_id": "thread",
    "dismissed": "dispensada",
    "document": "documento",
    "contact": "contato",
    "receipt": "comprovante",
}
"""Portuguese labels of the API's names. A name that is Portuguese already needs none."""


def print_json(response: BaseModel, console: Console) -> None:
    """Print a response of the HTTP API as JSON."""
    console.out(response.model_dump_json(indent=2), highlight=False)


def print_done(console: Console, sentence: str) -> None:
    """Print what a command has done."""
    console.print(f"✓ {sentence}", markup=False, soft_wrap=True)


def print_dismissed(console: Console, what: str, reason: DismissReason | None) -> None:
    """Print that something was dismissed; without a reason, that the dismissal was taken back."""
    if reason is None:
        print_done(console, f"{what} volta a precisar de uma pessoa")
    else:
        print_done(console, f"{what} dispensada: {coded(DISMISSALS[reason], reason)}")


def print_page(page: _Page, rows: Table, console: Console, *, as_json: bool) -> None:
    """Print one page of a list: `page` as JSON, or `rows` for people."""
    if as_json:
        print_json(page, console)
    elif not page.items:
        console.print("Nada encontrado.")
    else:
        console.print(rows)
        if page.next_cursor:
            console.print("Há mais; aumente --limit ou restrinja a busca.")


def facts(named: dict[str, object]) -> Table:
    """A table with one labelled value a line."""
    grid = Table.grid(padding=(0, 2))
    for name, value in named.items():
        grid.add_row(*cells(LABELS.get(name, name), value))
    return grid


def table(first: str, *others: str) -> Table:
    """A table whose first column, an id to be copied, is never folded."""
    made = Table(box=box.SIMPLE_HEAD)
    made.add_column(first, no_wrap=True)
    for name in others:
        made.add_column(name, overflow="fold")
    return made


def listing(console: Console, names: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """One line a row on a wide terminal; on others every second column goes below the one before it."""
    if console.width >= _ROOMY:
        made = table(*names)
        for row in rows:
            made.add_row(*cells(*row))
        return made
    stacked = table(*(f"{upper}\n{lower}" for upper, lower in _pairs(names)))
    stacked.columns[0] = Column(stacked.columns[0].header, min_width=_ID, overflow="fold")
    for row in rows:
        stacked.add_row(*(Text("\n").join(pair) for pair in _pairs(cells(*row))))
    return stacked


def _pairs(values: Sequence[_Value]) -> Iterable[tuple[_Value, _Value]]:
    return zip(values[::2], values[1::2], strict=True)


def cells(*values: object) -> list[Text]:
    """Values as plain texts, without markup and control characters (some ids come from the platform)."""
    return [_cell(value) for value in values]


def _cell(value: object) -> Text:
    if value is None:
        return Text("-")
    if isinstance(value, datetime):
        return Text(value.strftime("%d/%m/%y %H:%M:%S"))
    text = "".join(char if char.isprintable() else "�" for char in str(value))
    return Text(coded(_word(value), text), style=_COLOURS.get(text, ""))


def _word(value: object) -> str | None:
    return state_word(value) if isinstance(value, StrEnum) else None


def coded(word: str | None, code: str) -> str:
    """The word for a code, and the code for those who search for it; the code alone without a word."""
    return f"{word} ({code})" if word else code


def state_words(state: StrEnum) -> str:
    """A state inside a sentence."""
    return coded(state_word(state), state)


def listed_state(state: StrEnum, dismissed: Dismissed | None) -> StrEnum | str:
    """A state in a row of a list, with a word more for what a person has dismissed."""
    return state if dismissed is None else f"{state_words(state)}, dispensada"


def reason_words(reason: str | None) -> str | None:
    """Why a run ended or was lost."""
    return None if reason is None else coded(LOST_REASONS.get(reason), reason)


def dismissal_words(dismissed: Dismissed | None) -> str | None:
    """Why a call or run was dismissed, by whom and when."""
    if dismissed is None:
        return None
    reason = coded(DISMISSALS[dismissed.reason], dismissed.reason)
    return f"{reason}, por {dismissed.by}, {dismissed.at:%d/%m/%y %H:%M:%S}"


def plural(count: int, one: str, many: str) -> str:
    """`1 chamada`, `2 chamadas`."""
    return f"{count} {one if count == 1 else many}"


def span(seconds: float) -> str:
    """A wait in its two largest units."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
