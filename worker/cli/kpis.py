"""`kpis`: the figures of contract §7 beside their targets, for people (table) and programs (JSON, CSV)."""

import csv
import io
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.cli.database import beside, since_option
from worker.kpis import KPIS, Kpis, Unit
from worker.settings import Settings
from worker.web.kpis import Kpis as KpisResponse

Format = Literal["table", "json", "csv"]

_VERDICTS = {True: ("✓ atingida", "green"), False: ("✗ não atingida", "red"), None: ("-", "")}


async def show_kpis(settings: Settings, console: Console, since: str, form: Format) -> None:
    """Print the KPIs since a time; as JSON, `GET /v1/kpis`. Raises `ConfigError` and `StoreError`."""
    zone = ZoneInfo(settings.TIMEZONE)
    begin, end = since_option(since, zone), time.time()
    async with beside(settings) as store:
        kpis = await store.records.kpis(begin, None)
    if form == "json":
        console.out(KpisResponse.of(kpis, begin, end, zone).model_dump_json(indent=2), highlight=False)
    elif form == "csv":
        console.out(as_csv(kpis), highlight=False, end="")
    else:
        console.print(f"Indicadores desde {datetime.fromtimestamp(begin, zone):%d/%m/%Y %H:%M:%S}")
        for table in tables(kpis):
            console.print(table)


def tables(kpis: Kpis) -> Iterator[Table]:
    """The KPIs with their targets, then what there is to count by departamento, setor and motivo."""
    yield _against_targets(kpis)
    for title, counts in _groups(kpis).values():
        if counts:
            yield _counted(title, counts)


def as_csv(kpis: Kpis) -> str:
    """A line a figure: its path in `GET /v1/kpis`, value, target, and whether that is met (true, false)."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("kpi", "value", "target", "met"))
    for kpi in KPIS:
        target = None if kpi.target is None else f"{kpi.target.side.value}{kpi.target.bound:g}"
        met = kpi.met(kpis)
        writer.writerow((kpi.name, kpi.value(kpis), target, None if met is None else str(met).lower()))
    for name, (_, counts) in _groups(kpis).items():
        writer.writerows((f"{name}.{word}", count, None, None) for word, count in counts.items())
    return text.getvalue()


def _groups(kpis: Kpis) -> Mapping[str, tuple[str, Mapping[str, int]]]:
    return {
        "handoffs": ("atendimento humano", kpis.handoffs),
        "by_setor": ("tickets por setor", kpis.by_setor),
        "by_motivo": ("tickets por motivo", kpis.by_motivo),
    }


def _against_targets(kpis: Kpis) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("indicador", overflow="fold")
    table.add_column("valor", justify="right", no_wrap=True)
    table.add_column("meta", justify="right", no_wrap=True)
    table.add_column("situação", no_wrap=True)
    for kpi in KPIS:
        verdict, colour = _VERDICTS[kpi.met(kpis)]
        target = "" if kpi.target is None else kpi.target.written(kpi.unit)
        value = kpi.unit.written(kpi.value(kpis))
        table.add_row(kpi.title, value, target, Text(verdict, style=colour))
    return table


def _counted(title: str, counts: Mapping[str, int]) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column(title)
    table.add_column("quantos", justify="right")
    for word, count in counts.items():
        table.add_row(Text(word), Unit.COUNT.written(count))
    return table
