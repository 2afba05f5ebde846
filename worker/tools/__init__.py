"""The functions the model may call.

A new one is a module here, its schema in `schemas/`, and a line in `TOOLS`.
"""

from worker.tools.abrir_ticket_crm import AbrirTicketCrm
from worker.tools.parts import BuildableTool
from worker.tools.transferir_para_humano import TransferirParaHumano

TOOLS: tuple[type[BuildableTool], ...] = (AbrirTicketCrm, TransferirParaHumano)
"""In the order in which the model is shown them."""


def schema_names() -> list[str]:
    """The files of `schemas/` that the model is shown."""
    return [tool.schema for tool in TOOLS if tool.schema]
