"""Hours × requests, from the model's call to the queue: what model, bot and people get (contract §12)."""

import json
from dataclasses import dataclass, replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pytest

from tests.fakes import call
from tests.store.harness import OpenRig
from worker.catalog import Catalog
from worker.catalog.holiday_calendar import HolidayCalendar
from worker.catalog.opening_hours import parse
from worker.model import Conversation, Intent, Rejection
from worker.personal import Personal
from worker.times import rfc3339
from worker.tools.transferir_para_humano import TransferirParaHumano
from worker.web.dashboard.words import handoff_look

ZONE = ZoneInfo("America/Sao_Paulo")
HOURS = {
    "*": [*parse("seg-sex 08:00-18:00"), *parse("sáb 08:00-12:00")],
    "suporte": [*parse("todos 00:00-24:00"), *parse("feriados 00:00-24:00")],
    "cobrança": parse("sex,sáb 22:00-02:00"),
}
CATALOG = Catalog(
    {"SUPORTE": ["LENTIDÃO"]},
    ["financeiro", "suporte", "cobrança"],
    {},
    shifts=HOURS,
    holidays=HolidayCalendar([{date(2099, 12, 25)}]),  # a Friday
    zone=ZONE,
)
FRIDAY, SATURDAY, SUNDAY, MONDAY = "2099-11-27", "2099-11-28", "2099-11-29", "2099-11-30"
"""Days that are always to come, so that what the queue shows does not depend on today."""


@dataclass(frozen=True)
class Row:
    """A request: when, and for whom; `opens` and `due` are None and a time, or two times, as expected."""

    asked: str
    departamento: str
    opens: str | None
    due: str


TABLE = [
    Row(f"{FRIDAY}T17:30", "financeiro", None, f"{FRIDAY}T17:45"),
    Row(f"{FRIDAY}T17:50", "financeiro", None, f"{SATURDAY}T08:05"),
    Row(f"{FRIDAY}T18:00", "financeiro", f"{SATURDAY}T08:00", f"{SATURDAY}T08:15"),
    Row(f"{SATURDAY}T12:30", "financeiro", f"{MONDAY}T08:00", f"{MONDAY}T08:15"),
    Row(f"{SUNDAY}T03:00", "financeiro", f"{MONDAY}T08:00", f"{MONDAY}T08:15"),
    Row(f"{SUNDAY}T03:00", "suporte", None, f"{SUNDAY}T03:15"),
    Row(f"{SATURDAY}T01:50", "cobrança", None, f"{SATURDAY}T22:05"),
    Row(f"{SUNDAY}T03:00", "cobrança", "2099-12-04T22:00", "2099-12-04T22:15"),
    Row("2099-12-24T19:00", "financeiro", "2099-12-26T08:00", "2099-12-26T08:15"),
    Row("2099-12-25T10:00", "suporte", None, "2099-12-25T10:15"),
]


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp()


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.departamento} {row.asked}")
async def test_model_bot_and_people_get_the_same_opening_and_deadline(open_rig: OpenRig, row: Row) -> None:
    rig = await open_rig(owner=True, BOT_WEBHOOK_URL="http://127.0.0.1:9/eventos")
    await rig.conversation()
    tool = TransferirParaHumano(CATALOG, 900.0)
    arguments = Personal.json({"departamento": row.departamento, "motivo": "Maria quer falar"})

    def decide(conversation: Conversation | None) -> Intent | Rejection:
        assert conversation is not None
        return tool.plan(arguments, replace(conversation, read_at=at(row.asked)))

    record = await rig.decided(await rig.run(), call(1), decide)
    opens = None if row.opens is None else rfc3339(at(row.opens), ZONE)
    assert record.answer is not None
    answer = json.loads(record.answer.reveal())
    assert (answer["success"], answer.get("fora_do_horario", False)) == (True, opens is not None)
    assert answer.get("retorno") == opens

    ((kind, data),) = await rig.events()
    assert (kind, data["opens_at"]) == ("handoff.requested", opens)

    (view,), _ = await rig.store.records.handoffs()
    assert (view.requested_at, view.due_at) == (at(row.asked), at(row.due))
    assert view.opens_at == (None if row.opens is None else at(row.opens))

    (waiting,) = (await rig.store.board.backlog(10)).requested.items
    assert (waiting.opens_at, waiting.due_at, waiting.late_s) == (view.opens_at, view.due_at, 0.0)
    assert handoff_look(waiting).sign == ("○" if row.opens is None else "☾")
