"""The results of a rehearsal: `--json` writes them, `--compare` reads them.

They hold none of the model's free text, except with `--show`.
"""

import json
import math
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict

from worker.errors import ConfigError
from worker.model import CallState

_Z = 1.959964
"""Quantile of the normal distribution for an interval of 95 %."""


class Rate(NamedTuple):
    """A count out of a total."""

    hits: int
    of: int

    @property
    def share(self) -> float | None:
        """0 to 1; None if the total is 0."""
        return self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % Wilson interval of the share."""
        if not self.of:
            return None
        share, square = self.hits / self.of, _Z * _Z
        centre = share + square / (2 * self.of)
        spread = _Z * math.sqrt(share * (1 - share) / self.of + square / (4 * self.of * self.of))
        scale = 1 + square / self.of
        return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


class _Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Code(StrEnum):
    """How a conversation differs from what was expected."""

    NOT_CALLED = "nao_chamou"
    CALLED = "chamada_indevida"
    WRONG_PAIR = "par_errado"
    WRONG_DEPARTAMENTO = "departamento_errado"
    REJECTED = "chamada_recusada"
    SUSPECT_REPLY = "resposta_suspeita"
    PROTOCOLO_MISSING = "protocolo_nao_informado"
    PROTOCOLO_PRESENT = "protocolo_informado"
    TEXT_MISSING = "texto_ausente"
    TEXT_PRESENT = "texto_indevido"
    NO_REPLY = "sem_resposta"
    ENDED_OTHERWISE = "execucao_interrompida"


class Measure(StrEnum):
    """What is counted over a whole rehearsal, as `--json` names it."""

    CALLED = "called_when_due"
    NOT_CALLED = "not_called_when_forbidden"
    RIGHT_PAIRS = "right_pairs"
    SUSPECT_REPLIES = "suspect_replies"
    ENDED_OTHERWISE = "ended_otherwise"

    @property
    def harmful(self) -> bool:
        """Fewer are better."""
        return self in {Measure.SUSPECT_REPLIES, Measure.ENDED_OTHERWISE}


class Mistake(_Stored):
    """One difference. `detail`: what happened instead, in catalogue words or a code."""

    code: Code
    function: str | None = None
    expected: str | None = None
    detail: str | None = None


class MadeCall(_Stored):
    """A call that the assistant made, without its arguments; `function` is `-` for one we do not have."""

    function: str
    state: CallState
    setor: str | None = None
    motivo: str | None = None
    departamento: str | None = None
    error: str | None = None

    def __str__(self) -> str:
        """In words: `abrir_ticket_crm FINANCEIRO / PAGAMENTO`."""
        values = " / ".join(filter(None, (self.setor, self.motivo, self.departamento)))
        refused = f"recusada: {self.error}" if self.state is CallState.REJECTED else ""
        return " ".join(filter(None, (self.function, values, refused and f"({refused})")))


class Checks(_Stored):
    """One conversation in numbers that can be added up."""

    #: Calls that were due, and how many of these functions were called.
    due: int = 0
    called: int = 0
    #: Functions that were not to be called, and how many of them were not.
    forbidden: int = 0
    kept: int = 0
    #: Tickets that were due and whose function was called, and how many with an accepted setor and motivo.
    pairs: int = 0
    right: int = 0
    #: Calls that the worker rejected: the assistant had to correct them.
    rejected: int = 0


class Attempt(_Stored):
    """One repetition of a scenario."""

    mistakes: tuple[Mistake, ...]
    calls: tuple[MadeCall, ...]
    checks: Checks
    #: Findings of the reply check over all replies (contract §10), and how many replies were read.
    findings: tuple[str, ...] = ()
    replies: int = 0
    #: Why a run did not end as it should; None: all did.
    end: str | None = None
    seconds: float = 0.0
    #: None where the platform does not count them.
    tokens: int | None = None
    #: Runs that were started, and how often their state was read.
    runs: int = 0
    reads: int = 0
    #: The last reply, only with `--show`.
    reply: str | None = None

    @property
    def passed(self) -> bool:
        return not self.mistakes


class ScenarioResult(_Stored):
    """A scenario and its repetitions."""

    name: str
    assistant: str
    source: str
    #: The expectation, in words.
    expected: str
    attempts: tuple[Attempt, ...]

    @property
    def passed(self) -> Rate:
        return Rate(sum(attempt.passed for attempt in self.attempts), len(self.attempts))


class Results(_Stored):
    """A whole rehearsal."""

    version: Literal[1] = 1
    platform: str
    #: RFC 3339.
    started_at: str
    repeat: int
    #: The share of its repeats that a scenario must pass.
    minimum: float
    scenarios: tuple[ScenarioResult, ...]
    #: Objects on the platform that could not be deleted.
    not_deleted: tuple[str, ...] = ()

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        return tuple(attempt for scenario in self.scenarios for attempt in scenario.attempts)

    @property
    def failed(self) -> tuple[ScenarioResult, ...]:
        """The scenarios that passed less than the minimum."""
        return tuple(each for each in self.scenarios if (each.passed.share or 0.0) < self.minimum)

    def rates(self) -> dict[Measure, Rate]:
        """Each measure over all conversations."""
        attempts = self.attempts

        def total(read: Callable[[Checks], int]) -> int:
            return sum(read(attempt.checks) for attempt in attempts)

        suspect = sum(bool(attempt.findings) for attempt in attempts)
        with_reply = sum(attempt.replies > 0 for attempt in attempts)
        return {
            Measure.CALLED: Rate(total(lambda c: c.called), total(lambda c: c.due)),
            Measure.NOT_CALLED: Rate(total(lambda c: c.kept), total(lambda c: c.forbidden)),
            Measure.RIGHT_PAIRS: Rate(total(lambda c: c.right), total(lambda c: c.pairs)),
            Measure.SUSPECT_REPLIES: Rate(suspect, with_reply),
            Measure.ENDED_OTHERWISE: Rate(
                sum(attempt.end is not None for attempt in attempts), len(attempts)
            ),
        }

    def stored(self) -> dict[str, Any]:
        """The JSON object that `--json` prints: the results, and what the report derives from them."""
        document = self.model_dump(mode="json")
        for entry, scenario in zip(document["scenarios"], self.scenarios, strict=True):
            entry["passed"], entry["of"] = scenario.passed
            entry["interval"] = scenario.passed.interval
        document["summary"] = {
            measure: {"hits": rate.hits, "of": rate.of, "interval": rate.interval}
            for measure, rate in self.rates().items()
        }
        document["passed"] = not self.failed
        return document


_DERIVED = ("summary", "passed", "comparison")
_DERIVED_OF_A_SCENARIO = ("passed", "of", "interval")


def read(path: Path) -> Results:
    """A file that `--json` wrote. Raises `ConfigError`."""
    try:
        document = json.loads(path.read_bytes())
        return Results.model_validate(_without_derived(document))
    except OSError as error:
        raise ConfigError(f"{path} não pôde ser lido ({type(error).__name__})") from None
    except (ValueError, TypeError, AttributeError):  # a `ValidationError` is a `ValueError`
        raise ConfigError(f"{path} não é um resultado de rehearse --json") from None


def _without_derived(document: dict[str, Any]) -> dict[str, Any]:
    scenarios = [_without(each, _DERIVED_OF_A_SCENARIO) for each in document.get("scenarios", ())]
    return {**_without(document, _DERIVED), "scenarios": scenarios}


def _without(document: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}
