"""Hand-made views of the store, for tests of what is written of them."""

from dataclasses import replace
from typing import Any

from tests.asgi import EPOCH
from worker.model import CallState
from worker.views import AttemptView, CallView


def a_call(call_id: str = "tc_1", **changes: Any) -> CallView:
    """A ticket, received at `EPOCH` and opened at the first attempt; `changes` are fields of the view."""
    call = CallView(
        call_id=call_id,
        platform_call_id="call_abc",
        run_id="run_1",
        conversation_id="conv-1",
        tool="abrir_ticket_crm",
        state=CallState.DONE,
        error=None,
        protocolo="2510271534789012",
        setor="FINANCEIRO",
        motivo="INFORMAR PAGAMENTO",
        departamento=None,
        attempts=(AttemptView(1, EPOCH + 1, EPOCH + 2, "ok", None),),
        equal_to=None,
        received_at=EPOCH,
        answered_at=EPOCH + 2,
        finished_at=EPOCH + 2,
        submitted_at=EPOCH + 3,
    )
    return replace(call, **changes)
