"""How an erasure is shown, by the API and by the command: what went, what stayed and why (contract §3)."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from worker.records import Erasure

_RECORD = "registro legal, sem conteúdo: até RETENTION_RECORD_DAYS"
_WHY = {
    "in_flight": "pedidos já em andamento: o conteúdo é apagado com o resultado",
    "replayable": "respostas que a plataforma ainda pode pedir: apagadas quando a execução terminar",
    "runs": _RECORD,
    "calls": f"{_RECORD}; guardam protocolo, setor, motivo, horários e o hash do documento",
    "handoffs": _RECORD,
    "events": "avisos ao bot, só com identificadores e códigos: até serem entregues e o prazo passar",
}
_GONE = ("documents", "contacts", "receipts", "requests", "answers", "motivos")


class Kept(BaseModel):
    """Algo que ficou, e por quê."""

    what: str = Field(examples=["calls"])
    count: int = Field(examples=[2])
    why: str = Field(examples=[_WHY["calls"]])

    model_config = ConfigDict(frozen=True)


class ErasureReport(BaseModel):
    """O que foi apagado e o que ficou."""

    erased: dict[str, int] = Field(
        description="Quantos documentos, contatos, comprovantes, pedidos, respostas e motivos.",
        examples=[dict.fromkeys(_GONE, 1)],
    )
    kept: list[Kept]

    model_config = ConfigDict(frozen=True)

    @classmethod
    def of(cls, erasure: Erasure) -> Self:
        left = {what: getattr(erasure, what) for what in _WHY}
        return cls(
            erased={what: getattr(erasure, what) for what in _GONE},
            kept=[Kept(what=what, count=count, why=_WHY[what]) for what, count in left.items() if count],
        )
