"""`transferir_para_humano`: hands the conversation to a person. Recording it is the whole effect."""

from typing import Self

from worker.catalog import Catalog
from worker.errors import InvalidDepartamento, ToolError, UnknownConversation
from worker.model import CallRecord, CallState, Conversation, Intent, Outcome, Rejection, ToolKind
from worker.personal import Personal
from worker.ports import Attempts
from worker.privacy import echo
from worker.tools.arguments import read, require
from worker.tools.parts import ToolParts

_PARAMETERS = ("departamento", "motivo")


class TransferirParaHumano:
    """Implements `ports.Tool`. Needs a known conversation, but no document (contract §6)."""

    name = "transferir_para_humano"
    schema: str | None = "transferir_para_humano"
    kind = ToolKind.HANDOFF

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    @classmethod
    def build(cls, parts: ToolParts) -> Self:
        return cls(parts.catalog)

    def plan(self, arguments: Personal, conversation: Conversation | None) -> Intent | Rejection:
        """A hand-off that is done once it is recorded, or what the model must correct."""
        try:
            given = read(arguments, _PARAMETERS)
            require(given)
            departamento = self._departamento(given["departamento"])
            if conversation is None:
                raise UnknownConversation
        except ToolError as error:
            return Rejection.of(error)
        return Intent(
            equal_on=(departamento,),
            body=Personal(given["motivo"]),
            departamento=departamento,
            answer=_success(departamento, given["motivo"]),
        )

    async def perform(self, call: CallRecord, attempts: Attempts) -> Outcome:
        """Nothing is left to do: the intent, once recorded, is the hand-off."""
        return Outcome(CallState.DONE)

    async def recheck(self, call: CallRecord, attempts: Attempts) -> Outcome | None:
        """A hand-off is never in doubt."""
        return None

    def success(self, call: CallRecord) -> Personal:
        """What the model is told of a recorded hand-off (contract §6)."""
        return _success(call.departamento, call.body.reveal() if call.body else "")

    def _departamento(self, text: str) -> str:
        departamento = self._catalog.departamento(text)
        if departamento is None:
            known = self._catalog.departamentos
            raise InvalidDepartamento(
                departamentos_validos=known.names, sugestao=known.nearest(text), _texto=echo(text)
            )
        return departamento


def _success(departamento: str | None, motivo: str) -> Personal:
    return Personal.json(
        {
            "success": True,
            "departamento": departamento,
            "motivo": echo(motivo),
            "mensagem": "Transferência para atendimento humano iniciada com sucesso.",
        }
    )
