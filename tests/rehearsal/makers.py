"""Results as a rehearsal would have found them, for tests of what is made of them."""

from worker.model import CallState
from worker.rehearsal.results import Attempt, Checks, MadeCall, Mistake, Results, ScenarioResult


def ticket(
    motivo: str | None = "PAGAMENTO",
    *,
    setor: str | None = "FINANCEIRO",
    state: CallState = CallState.DONE,
    error: str | None = None,
) -> MadeCall:
    return MadeCall(function="abrir_ticket_crm", state=state, setor=setor, motivo=motivo, error=error)


def rejected(error: str = "motivo_incompativel") -> MadeCall:
    return ticket(None, state=CallState.REJECTED, error=error)


def handoff(departamento: str = "financeiro") -> MadeCall:
    return MadeCall(function="transferir_para_humano", state=CallState.DONE, departamento=departamento)


def attempt(
    *mistakes: Mistake, checks: Checks | None = None, seconds: float = 2.0, **more: object
) -> Attempt:
    return Attempt(
        mistakes=mistakes,
        calls=(),
        checks=checks or Checks(due=1, called=0 if mistakes else 1),
        seconds=seconds,
        runs=1,
        reads=4,
        **more,  # type: ignore[arg-type]
    )


def scenario(name: str, *attempts: Attempt, assistant: str = "FINANCEIRO") -> ScenarioResult:
    return ScenarioResult(
        name=name, assistant=assistant, source="a regra", expected="abrir_ticket_crm", attempts=attempts
    )


def results(*scenarios: ScenarioResult, minimum: float = 1.0, **more: object) -> Results:
    return Results(
        platform="assistants",
        started_at="2026-11-29T04:00:00-03:00",
        repeat=max((len(each.attempts) for each in scenarios), default=1),
        minimum=minimum,
        scenarios=scenarios,
        **more,  # type: ignore[arg-type]
    )
