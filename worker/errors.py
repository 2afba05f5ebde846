"""Every error of the worker. Each class answers one question: who can fix it?

WorkerError
├── ConfigError               the operator, before start: all problems listed, exit 2
│   └── NotMigrated           the operator: a daemon of this version must open the database first
├── StoreError                the operator: nothing can be recorded, so nothing may be done; exit 1
│   └── StoreUnavailable      time: PostgreSQL does not answer; wait, at most DATABASE_GRACE_S
├── Unreadable                the operator: a stored value needs a key that `DATA_KEYS` lacks
├── PlatformError
│   ├── PlatformGone          the operator: this base URL does not serve this protocol
│   ├── PlatformRefused       the operator: 401, 403, 400; loud, growing delay, keep running
│   ├── PlatformUnavailable   time: poll again later
│   └── RunGone               nobody: the platform does not know this run
├── RequestRefused            the caller of the HTTP API: 404, 409, 422 with a code of contract §3
├── Withdrawn                 nobody: this process may not go on with a call; the next owner does
│   └── Erased                nobody: the customer's data was erased before the call was sent
└── ToolError                 the model: one class a code of contract §6

The class owns the public Portuguese sentence. The instance carries private detail, which is never shown.
"""

from collections.abc import Sequence
from typing import ClassVar


class WorkerError(Exception):
    """Base of everything this worker raises on purpose."""


class ConfigError(WorkerError):
    """The operator must change the configuration; `problems` are Portuguese sentences without secrets."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems: Sequence[str] = problems


class NotMigrated(ConfigError):
    """No daemon of this version has made or migrated the database yet; only a daemon does."""


class StoreError(WorkerError):
    """The database cannot record. The daemon ends, because it must not act unrecorded; the operator acts."""


class StoreUnavailable(StoreError):
    """PostgreSQL does not answer, or aborted a transaction: it may have committed, and a retry may help."""


class Unreadable(WorkerError):
    """No key of `DATA_KEYS` opens a stored value: the operator adds the key. It concerns that value alone."""


# ---------------------------------------------------------------------------------------------- platform


class PlatformError(WorkerError):
    """A platform request failed. `status`: HTTP's, None without an answer. `code`: the platform's word."""

    def __init__(
        self, status: int | None = None, code: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(f"{type(self).__name__} status={status} code={code}")
        self.status = status
        self.code = code
        self.retry_after_s = retry_after_s


class PlatformGone(PlatformError):
    """This base URL does not serve this protocol (Assistants at OpenAI since 2026-08-26)."""

    sentence: ClassVar[str] = (
        "Este endereço não atende mais o protocolo Assistants (a OpenAI o desligou em 26/08/2026): aponte "
        "OPENAI_BASE_URL para um projeto do Microsoft Foundry Agent Service (classic) ou para um servidor "
        "compatível"
    )


class PlatformRefused(PlatformError):
    """The platform refuses the key or the request. An operator can mend it while the daemon runs."""


class PlatformUnavailable(PlatformError):
    """No answer, 408, 409, 429, 5xx, or an answer that cannot be read. Polling again later may help."""


class RunGone(PlatformError):
    """The platform answers 404 for this run."""


# ------------------------------------------------------------------------------------------- HTTP callers


class RequestRefused(WorkerError):
    """The HTTP API refuses a request. `code` is one of contract §3.

    `call_id`: the other call that prevents it, if there is one.
    """

    def __init__(self, code: str, call_id: str | None = None) -> None:
        super().__init__(code)
        self.code = code
        self.call_id = call_id


# ---------------------------------------------------------------------------------------------- ownership


class Withdrawn(WorkerError):
    """This process may not send (stopping, lease lost, call closed meanwhile): nothing was sent."""


class Erased(Withdrawn):
    """The body was erased before it was sent. The call ends, and the model gets an error."""


class Isolated(WorkerError):
    """Run and conversation name different threads: nothing of this run may be answered (`isolamento`)."""


# --------------------------------------------------------------------------------------------------- tools

_NO_PROTOCOLO = "Não informe nenhum número de protocolo ao cliente."


class ToolError(WorkerError):
    """The model's answer to a failed call (contract §6): `code`, `mensagem`, `instrucao` and hints."""

    code: ClassVar[str]
    mensagem: ClassVar[str]
    instrucao: ClassVar[str]

    def __init__(self, **hints: object) -> None:
        super().__init__(self.code)
        self.hints = hints

    def answer(self) -> dict[str, object]:
        """The object that the model receives. Hints named in the sentence's braces are filled in.

        A hint that is None is left out (no suggestion is better than a wrong one); hints that begin with
        `_` only fill the sentence.
        """
        visible_hints = {k: v for k, v in self.hints.items() if v is not None and not k.startswith("_")}
        return {
            "success": False,
            "error": self.code,
            "mensagem": self.mensagem.format(**self.hints),
            "instrucao": self.instrucao.format(**self.hints),
            **visible_hints,
        }


class InvalidArguments(ToolError):
    code = "argumentos_invalidos"
    mensagem = "Argumentos inválidos: {_porque}."
    instrucao = f"Corrija os argumentos e chame a função de novo. {_NO_PROTOCOLO}"

    def __init__(self, porque: str = "envie um objeto JSON cujos valores sejam textos") -> None:
        super().__init__(_porque=porque)


class MissingParameters(ToolError):
    code = "parametros_faltando"
    mensagem = "Parâmetros obrigatórios faltando: {_nomes}"
    instrucao = f"Preencha os parâmetros que faltam e chame a função de novo. {_NO_PROTOCOLO}"

    def __init__(self, faltando: Sequence[str]) -> None:
        super().__init__(faltando=list(faltando), _nomes=", ".join(faltando))


class InvalidSetor(ToolError):
    code = "setor_invalido"
    mensagem = 'Setor "{_texto}" não é válido.'
    instrucao = f"Escolha um dos setores_validos e chame a função de novo. {_NO_PROTOCOLO}"


class IncompatibleMotivo(ToolError):
    code = "motivo_incompativel"
    mensagem = 'Motivo "{_texto}" não é compatível com setor "{_setor}".'
    instrucao = f"Escolha um dos motivos_validos para este setor e chame a função de novo. {_NO_PROTOCOLO}"


class InvalidDepartamento(ToolError):
    code = "departamento_invalido"
    mensagem = 'Departamento "{_texto}" não é válido.'
    instrucao = (
        "Escolha um dos departamentos_validos e chame a função de novo. "
        "Não diga ao cliente que ele já foi transferido."
    )


class UnknownConversation(ToolError):
    code = "conversa_desconhecida"
    mensagem = "Conversa não encontrada: ela não está mais registrada neste atendimento."
    instrucao = (
        f"Não chame a função de novo. Diga ao cliente que não foi possível concluir o pedido. {_NO_PROTOCOLO}"
    )


class MissingDocument(ToolError):
    code = "documento_ausente"
    mensagem = "Para abrir um ticket, preciso do seu CPF ou CNPJ"
    instrucao = (
        "Peça o CPF ou CNPJ ao cliente e, quando ele o informar, chame a função de novo. " + _NO_PROTOCOLO
    )


class CrmUnavailable(ToolError):
    code = "crm_indisponivel"
    mensagem = "O CRM não respondeu, e nenhum ticket foi confirmado."
    instrucao = (
        "Diga ao cliente que não foi possível registrar o atendimento agora e ofereça transferi-lo para um "
        f"atendente com transferir_para_humano. {_NO_PROTOCOLO}"
    )


class CrmRefused(ToolError):
    code = "crm_recusou"
    mensagem = "O CRM recusou o ticket."
    instrucao = (
        "Não chame a função de novo com os mesmos dados. Ofereça transferir o cliente para um atendente com "
        f"transferir_para_humano. {_NO_PROTOCOLO}"
    )


class MissingProtocolo(ToolError):
    code = "sem_protocolo"
    mensagem = "O CRM aceitou o pedido, mas não devolveu o protocolo."
    instrucao = (
        "Não chame a função de novo. Diga ao cliente que o pedido foi recebido e que a equipe confirmará o "
        f"protocolo. {_NO_PROTOCOLO}"
    )


class BeingConfirmed(ToolError):
    code = "em_confirmacao"
    mensagem = "O registro está em confirmação no CRM."
    instrucao = (
        "Não chame a função de novo. Diga ao cliente que o registro está sendo confirmado e que o protocolo "
        f"será informado em seguida. {_NO_PROTOCOLO}"
    )


class UnknownTool(ToolError):
    code = "ferramenta_desconhecida"
    mensagem = "Função desconhecida: este atendimento não a oferece."
    instrucao = f"Não chame esta função de novo; continue o atendimento sem ela. {_NO_PROTOCOLO}"


class WrappedTool(UnknownTool):
    """A call of one of the worker's functions inside the arguments of a function that does not exist."""

    instrucao = (
        "Chame a função {_funcao} diretamente, uma vez para cada pedido, e não dentro de outra função. "
        + _NO_PROTOCOLO
    )

    def __init__(self, funcao: str) -> None:
        super().__init__(_funcao=funcao)


class ToolFailed(ToolError):
    code = "ferramenta_falhou"
    mensagem = "A função não respondeu."
    instrucao = f"Diga ao cliente que não foi possível concluir este pedido agora. {_NO_PROTOCOLO}"


class InternalError(ToolError):
    code = "erro_interno"
    mensagem = "Erro interno: o pedido não foi concluído."
    instrucao = (
        "Diga ao cliente que não foi possível concluir o pedido e ofereça um atendente humano. "
        + _NO_PROTOCOLO
    )


class RunEnded(ToolError):
    """The run ended before the call was sent. No model receives this answer; the bot gets an event."""

    code = "execucao_encerrada"
    mensagem = "A execução terminou antes que o pedido fosse enviado."
    instrucao = _NO_PROTOCOLO


OUTCOME_ERRORS: dict[str, type[ToolError]] = {
    error.code: error
    for error in (
        UnknownConversation,
        CrmUnavailable,
        CrmRefused,
        MissingProtocolo,
        BeingConfirmed,
        RunEnded,
        ToolFailed,
        InternalError,
    )
}
"""The error for the model, by the stored code of an outcome. These need no hints."""
