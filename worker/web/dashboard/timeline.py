"""A call's life as people read it: received → validated → intent → attempts → outcome → submitted."""

from collections.abc import Iterator
from dataclasses import dataclass

from worker.kpis import Unit
from worker.model import CallState
from worker.views import AttemptView, CallView
from worker.web.dashboard.words import STATES, safe


@dataclass(frozen=True, slots=True)
class Step:
    """`at`: seconds since the epoch, None while it has not happened. `tone` as in `words.Look`."""

    title: str
    at: float | None
    detail: str = ""
    tone: str = "plain"


def steps(call: CallView) -> list[Step]:
    """In the order in which they happened, what is still to come last."""
    life = [Step("Recebida", call.received_at, safe("tool", call.tool)), *_decided(call)]
    life += [_attempt(view) for view in call.attempts]
    life += _outcome(call)
    life.sort(key=lambda step: (step.at is None, step.at or 0.0))
    return life


def _decided(call: CallView) -> Iterator[Step]:
    """Validated and recorded in one transaction, when the call was received."""
    if call.state is CallState.REJECTED:
        yield Step("Recusada na validação", call.received_at, call.error or "", "quiet")
        return
    yield Step("Validada", call.received_at, what(call))
    if call.equal_to:
        yield Step("Igual a outra chamada", call.received_at, call.equal_to)
    else:
        yield Step("Pedido gravado", call.received_at)


def subject(call: CallView) -> str:
    """What a call is about, as lists and headings name it."""
    if call.departamento:
        return f"Transferência · {call.departamento}"
    return what(call) or safe("tool", call.tool)


def what(call: CallView) -> str:
    """The request, in the catalogue's spelling."""
    return " · ".join(word for word in (call.setor, call.motivo, call.departamento) if word)


def _attempt(view: AttemptView) -> Step:
    title = f"Tentativa {view.attempt}"
    if view.ended_at is None:
        return Step(title, view.begun_at, "em andamento", "quiet")
    took = Unit.MS.written(1000 * (view.ended_at - view.begun_at))
    if view.result == "ok":
        return Step(title, view.begun_at, f"respondida em {took}", "good")
    return Step(title, view.begun_at, f"{view.result} em {took}", "bad")


def _outcome(call: CallView) -> Iterator[Step]:
    early = call.finished_at is not None and (call.answered_at or call.finished_at) < call.finished_at
    if early or (call.finished_at is None and call.answered_at is not None):
        yield Step("Respondida antes do resultado", call.answered_at, "em_confirmacao", "quiet")
    if call.state is not CallState.REJECTED:
        look = STATES[call.state]
        result = f"protocolo {call.protocolo}" if call.protocolo else (call.error or "")
        yield Step("Resultado" if call.state.open else look.word, call.finished_at, result, look.tone)
    yield Step("Resposta entregue ao assistente", call.submitted_at)
