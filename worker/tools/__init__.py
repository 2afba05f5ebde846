"""The functions that the model may call.

A new tool needs a module here, its schema in `schemas/`, and a line in `TOOLS`.
"""

from worker.tools.abrir_ticket_crm import AbrirTicketCrm
from worker.tools.parts import BuildableTool
from worker.tools.transferir_para_humano import TransferirParaHumano

TOOLS: tuple[type[BuildableTool], ...] = (AbrirTicketCrm, TransferirParaHumano)
"""In the order in which the model sees them."""


def schema_names() -> list[str]:
    """The files of `schemas/`, without `.json`, that define the tools for the model."""
    return [tool.schema for tool in TOOLS if tool.schema]
