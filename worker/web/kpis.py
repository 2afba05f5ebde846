"""The KPIs as the API and the commands show them (contract §7)."""

from datetime import datetime, tzinfo
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from worker import kpis


class _Figures(BaseModel):
    model_config = ConfigDict(frozen=True, from_attributes=True)


class Durations(_Figures):
    """Milissegundos; null quando nada foi medido. Percentis pelo posto mais próximo (nearest rank)."""

    mean: float | None = Field(examples=[212.4])
    p50: float | None = Field(examples=[180.0])
    p95: float | None = Field(examples=[430.5])
    p99: float | None = Field(examples=[890.2])


def _meaning(name: str) -> str:
    return kpis.BY_NAME[name].meaning


class Kpis(_Figures):
    """Os indicadores do período; as taxas vão de 0 a 1 e são null quando não há por que dividir."""

    since: datetime = Field(description="Início do período, inclusive.")
    until: datetime = Field(description="Fim do período, exclusive.")
    tickets_opened: int = Field(description=_meaning("tickets_opened"), examples=[96])
    valid_requests: int = Field(description=_meaning("valid_requests"), examples=[100])
    success_rate: float | None = Field(description=_meaning("success_rate"), examples=[0.96])
    crm_ms: Durations = Field(description=_meaning("crm_ms.mean"))
    end_to_end_ms: Durations = Field(description=_meaning("end_to_end_ms.mean"))
    invalid_rate_raw: float | None = Field(description=_meaning("invalid_rate_raw"), examples=[0.02])
    invalid_rate: float | None = Field(description=_meaning("invalid_rate"), examples=[0.005])
    without_protocol: int = Field(description=_meaning("without_protocol"), examples=[0])
    unknown: int = Field(description=_meaning("unknown"), examples=[1])
    duplicates_avoided: int = Field(description=_meaning("duplicates_avoided"), examples=[3])
    retries: int = Field(description=_meaning("retries"), examples=[7])
    replies_checked: int = Field(description=_meaning("replies_checked"), examples=[240])
    replies_suspect: int = Field(description=_meaning("replies_suspect"), examples=[2])
    suspect_rate: float | None = Field(description=_meaning("suspect_rate"), examples=[0.008])
    by_code: dict[str, int] = Field(description="Respostas sem lastro, por código.")
    handoffs: dict[str, int] = Field(description="Pedidos de atendimento humano, por departamento.")
    by_setor: dict[str, int] = Field(description="Tickets abertos, por setor.")
    by_motivo: dict[str, int] = Field(description="Tickets abertos, por motivo.")

    @classmethod
    def of(cls, figures: kpis.Kpis, since: float, until: float, zone: tzinfo) -> Self:
        """The response for these figures. `since` and `until`: seconds since the epoch."""
        values = {name: getattr(figures, name) for name in cls.model_fields if name not in {"since", "until"}}
        values |= {"since": datetime.fromtimestamp(since, zone), "until": datetime.fromtimestamp(until, zone)}
        return cls.model_validate(values)
