"""The tool `transferir_para_humano`: requests a person for the conversation. Recording it is all it does."""

from typing import Self

from worker.catalog import Catalog
from worker.catalog.opening_hours import in_words
from worker.errors import InvalidDepartamento, ToolError, UnknownConversation
from worker.model import (
    Attendance,
    CallRecord,
    CallState,
    Conversation,
    Intent,
    Outcome,
    Rejection,
    ToolKind,
)
from worker.personal import Personal
from worker.ports import Attempts
from worker.privacy import echo, readable
from worker.times import rfc3339
from worker.tools.arguments import read, require
from worker.tools.parts import ToolParts

_PARAMETERS = ("departamento", "motivo")


class TransferirParaHumano:
    """Implements `ports.Tool`. Needs a known conversation, but no document (contract §6)."""

    name = "transferir_para_humano"
    schema: str | None = "transferir_para_humano"
    kind = ToolKind.HANDOFF

    def __init__(self, catalog: Catalog, sla_s: float = 0.0) -> None:
        """`sla_s`: seconds of opening hours within which a person should accept; 0: no deadline."""
        self._catalog = catalog
        self._sla_s = sla_s

    @classmethod
    def build(cls, parts: ToolParts) -> Self:
        return cls(parts.catalog, parts.settings.HANDOFF_SLA_S)

    def plan(self, arguments: Personal, conversation: Conversation | None) -> Intent | Rejection:
        """The intent of a hand-off, or a rejection that the model can correct."""
        try:
            parameters = read(arguments, _PARAMETERS)
            require(parameters)
            departamento = self._departamento(parameters["departamento"])
            if conversation is None:
                raise UnknownConversation
        except ToolError as error:
            return Rejection.of(error)
        attendance = self._attendance(departamento, conversation.read_at)
        return Intent(
            equal_on=(departamento,),
            body=Personal(parameters["motivo"]),
            departamento=departamento,
            answer=self._answer(departamento, parameters["motivo"], attendance.opens_at),
            attendance=attendance,
        )

    def _attendance(self, departamento: str, requested_at: float) -> Attendance:
        hours = self._catalog.hours[departamento]
        due_at = hours.deadline(requested_at, self._sla_s) if self._sla_s else None
        return Attendance(requested_at, hours.opens_at(requested_at), due_at)

    def _answer(self, departamento: str, motivo: str, opens_at: float | None) -> Personal:
        """The answer to the model. Out of hours it names the time at which attendance resumes."""
        if opens_at is None:
            return _success(departamento, motivo)
        return _out_of_hours(
            departamento,
            motivo,
            resumes=rfc3339(opens_at, self._catalog.zone),
            words=in_words(opens_at, self._catalog.zone),
        )

    async def perform(self, call: CallRecord, attempts: Attempts) -> Outcome:
        """Do nothing: the recorded intent is the hand-off."""
        return Outcome(CallState.DONE)

    async def recheck(self, call: CallRecord, attempts: Attempts) -> Outcome | None:
        """A hand-off is never in doubt."""
        return None

    def success(self, call: CallRecord) -> Personal:
        """The answer to the model for a recorded hand-off whose stored answer is gone (contract §6)."""
        motivo = readable(call.body)
        return _success(call.departamento, motivo.reveal() if motivo else "")

    def _departamento(self, text: str) -> str:
        departamento = self._catalog.departamento(text)
        if departamento is None:
            valid = self._catalog.departamentos
            raise InvalidDepartamento(
                departamentos_validos=valid.names, sugestao=valid.nearest(text), _texto=echo(text)
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


def _out_of_hours(departamento: str, motivo: str, *, resumes: str, words: str) -> Personal:
    return Personal.json(
        {
            "success": True,
            "departamento": departamento,
            "motivo": echo(motivo),
            "fora_do_horario": True,
            "retorno": resumes,
            "mensagem": f"Pedido de atendimento registrado. O atendimento volta {words}.",
            "instrucao": (
                "Diga ao cliente que o pedido está registrado e quando o atendimento volta. Não prometa que "
                "alguém vai atender agora, nem peça que ele fique esperando na conversa."
            ),
        }
    )
