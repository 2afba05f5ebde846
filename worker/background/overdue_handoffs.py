"""Records hand-offs that nobody accepted by their deadline, and writes the bot one event for each."""

from worker import logs
from worker.ports import Clock
from worker.store.queries.handoffs import Handoffs

_EVERY_S = 1.0


async def keep_recorded(handoffs: Handoffs, clock: Clock) -> None:
    """Until cancelled. Of several processes on one database, each may do it. Raises `StoreError`."""
    while True:
        await record(handoffs)
        await clock.sleep(_EVERY_S)


async def record(handoffs: Handoffs) -> None:
    """Record every deadline that has passed."""
    while overdue := await handoffs.record_overdue():
        for each in overdue:
            logs.event(
                "! pedido de atendimento fora do prazo | departamento={departamento} handoff={handoff_id} "
                "conversationId={conversation_id}",
                level="WARNING",
                departamento=each.departamento,
                handoff_id=each.handoff_id,
                conversation_id=each.conversation_id,
            )
