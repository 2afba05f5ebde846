"""Identifiers and request bodies of the API (contract §3). Personal texts become `Personal` when parsed."""

import re
import unicodedata
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from worker.model import PLATFORM_ID
from worker.personal import Personal
from worker.privacy import parse_document
from worker.views import DismissReason
from worker.web.invalid import InvalidField
from worker.web.problems import wrong

AHEAD_S = 60.0
"""Seconds that a caller's clock may be ahead of ours: a time so little in the future means now."""


def _matching(pattern: str, rule: str) -> AfterValidator:
    """`rule` says to people what `pattern` says to programs."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise wrong(rule, "identificador_invalido")
        return value

    return AfterValidator(check)


_CONVERSATION_ID = r"[A-Za-z0-9._:@+~-]{1,128}"
ConversationId = Annotated[
    str,
    _matching(_CONVERSATION_ID, "precisa ter de 1 a 128 letras sem acento, algarismos ou . _ : @ + ~ -"),
    WithJsonSchema({"type": "string", "pattern": f"^{_CONVERSATION_ID}$"}),
]

PlatformId = Annotated[
    str,
    _matching(PLATFORM_ID.pattern, "precisa ter de 1 a 256 caracteres ASCII visíveis, sem espaços"),
    WithJsonSchema({"type": "string", "pattern": f"^{PLATFORM_ID.pattern}$"}),
]
"""An id of the platform (run, session, thread, conversation). No prefix is assumed."""

_OWN_ID = r"[A-Za-z0-9_-]{1,128}"
OwnId = Annotated[
    str,
    _matching(_OWN_ID, "precisa ser um identificador dado pelo worker"),
    WithJsonSchema({"type": "string", "pattern": f"^{_OWN_ID}$"}),
]
"""An id that the worker made, of a call or hand-off; callers treat it as opaque."""


# ------------------------------------------------------------------------------------------------- values


def _text(value: object, longest: int) -> str:
    if not isinstance(value, str):
        raise wrong("precisa ser um texto")
    if not value.strip() or len(value) > longest:
        raise wrong(f"precisa ter de 1 a {longest} caracteres; para apagar, envie null")
    if any(unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} for character in value):
        raise wrong("não pode ter caracteres de controle")
    return value


def _label(value: object) -> str:
    return _text(value, 64)


def _contact(value: object) -> Personal:
    return Personal(_text(value, 64))


def _protocolo(value: object) -> str:
    text = value.strip() if isinstance(value, str) else ""
    foreign_digits = any(each.isdigit() and not each.isascii() for each in text)
    if text and text.isprintable() and len(text) <= 64 and not foreign_digits:
        return text
    raise wrong("precisa ser um texto de 1 a 64 caracteres imprimíveis")


def _url(value: object) -> Personal:
    text = _text(value, 2048)
    try:
        parts = urlsplit(text)
        whole = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        whole = False
    if not whole or " " in text:
        raise wrong("precisa ser uma URL http:// ou https:// completa, sem espaços")
    return Personal(text)


def _document(value: object) -> Personal:
    if not isinstance(value, str):
        raise wrong("precisa ser um texto")
    document = parse_document(value)
    if document is None:
        raise wrong("precisa ser um CPF ou CNPJ válido, com ou sem pontuação", "documento_invalido")
    return document


_LONGEST_REPLY = 20_000


def _reply(value: object) -> Personal:
    if isinstance(value, str) and 1 <= len(value) <= _LONGEST_REPLY:
        return Personal(value)
    raise wrong(f"precisa ser um texto de 1 a {_LONGEST_REPLY} caracteres")


_RFC_3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)"


def _moment(value: object) -> float:
    try:
        if isinstance(value, str) and re.fullmatch(_RFC_3339, value, re.ASCII | re.IGNORECASE):
            at = datetime.fromisoformat(value.upper()).timestamp()
            if at >= 0:  # the calendar's first day is one that other zones cannot show
                return at
    except ValueError:
        pass
    raise wrong("precisa ser data e hora RFC 3339 com fuso, como 2025-10-27T15:34:00-03:00")


def _read_by(read: Callable[[object], Any], **schema: Any) -> tuple[BeforeValidator, WithJsonSchema]:
    return BeforeValidator(read), WithJsonSchema({"type": "string", **schema})


Label = Annotated[str, *_read_by(_label, maxLength=64)]
Protocolo = Annotated[str, *_read_by(_protocolo, maxLength=64)]
Contact = Annotated[Personal, *_read_by(_contact, maxLength=64)]
AttachmentUrl = Annotated[Personal, *_read_by(_url, format="uri", maxLength=2048)]
Document = Annotated[Personal, *_read_by(_document)]
ReplyText = Annotated[Personal, *_read_by(_reply, minLength=1, maxLength=_LONGEST_REPLY)]
Moment = Annotated[float, *_read_by(_moment, format="date-time")]
"""Seconds since the epoch."""


# ------------------------------------------------------------------------------------------------- bodies


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _known_fields(cls, data: object) -> object:
        """Refuse unknown fields without naming them, as Pydantic would: names are text of the caller."""
        if isinstance(data, dict) and not data.keys() <= cls.model_fields.keys():
            raise wrong(f"tem um campo desconhecido; os aceitos são: {', '.join(cls.model_fields)}")
        return data


class ConversationChange(_Body):
    """O que muda na conversa: o que falta fica como está, null apaga."""

    thread_id: PlatformId | None = Field(
        None, description="Thread, sessão ou conversa na plataforma; pertence a uma só conversa."
    )
    assistant: Label | None = Field(None, description="Rótulo livre do assistente.")
    client_document: Document | None = Field(
        None, description="CPF ou CNPJ (também alfanumérico), com ou sem pontuação; volta mascarado."
    )
    contact: Contact | None = Field(None, description="Como falar com o cliente, por exemplo o WhatsApp.")
    attachment_url: AttachmentUrl | None = Field(
        None, description="Comprovante mais recente que o cliente enviou."
    )
    attachment_at: Moment | None = Field(
        None,
        description="Quando o comprovante chegou, com fuso; se faltar, agora. Até 60 s à frente é agora.",
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "thread_id": "thread_abc123",
                    "assistant": "FINANCEIRO",
                    "client_document": "529.982.247-25",
                    "contact": "5524900000000",
                    "attachment_url": "https://arquivos.example/comprovante.jpg",
                    "attachment_at": "2025-10-27T15:34:00-03:00",
                }
            ]
        }
    )

    def changes(self, now: float) -> dict[str, object]:
        """The fields that were sent, for `Records.put_conversation`. Raises `InvalidField`."""
        changes: dict[str, object] = {name: getattr(self, name) for name in self.model_fields_set}
        if self.attachment_at is not None:
            if self.attachment_at > now + AHEAD_S:
                raise InvalidField("attachment_at", "não pode estar mais de 60 s no futuro")
            changes["attachment_at"] = min(self.attachment_at, now)
        return changes


class Resolution(_Body):
    """O que uma pessoa achou no CRM."""

    protocolo: Protocolo = Field(description="O número do ticket, como o CRM o mostra.")

    model_config = ConfigDict(json_schema_extra={"examples": [{"protocolo": "2510271534789012"}]})


class DismissalRequest(_Body):
    """Por que não precisa mais de uma pessoa."""

    reason: DismissReason

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "resolvido_por_fora"}]})


class RetrySelection(_Body):
    """Quais chamadas enviar de novo."""

    state: Literal["failed", "unknown"]
    since: str = Field(description="Desde 24h, 7d, hoje ou um instante RFC 3339.")
    until: str | None = Field(None, description="Antes deste instante; se faltar, até agora.")
    setor: str | None = Field(None, max_length=64, description="Só deste setor, na grafia do catálogo.")

    model_config = ConfigDict(json_schema_extra={"examples": [{"state": "failed", "since": "2h"}]})


class ReplyToCheck(_Body):
    """Uma resposta do assistente, antes de ser enviada ao cliente."""

    conversation_id: ConversationId = Field(description="A conversa, já registrada com PUT.")
    text: ReplyText = Field(description="A resposta; não é guardada nem registrada em lugar nenhum.")
    run_id: PlatformId | None = Field(
        None, description="A execução que a escreveu: o worker não a lê de novo."
    )
    known_numbers: list[Protocolo] = Field(
        [], max_length=100, description="Números que o bot garante, como o protocolo de outro sistema."
    )

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "conversation_id": "conv-1",
                    "text": "Prontinho! Abri seu chamado, o protocolo é 2510271534789012.",
                    "run_id": "run_abc123",
                }
            ]
        }
    )


class RunAnnouncement(_Body):
    """Uma execução que o worker deve acompanhar."""

    conversation_id: ConversationId = Field(description="A conversa, já registrada com PUT.")
    run_id: PlatformId = Field(description="A execução na plataforma (em `agents`, a sessão).")
    thread_id: PlatformId | None = Field(None, description="Se faltar, vale o da conversa.")

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"conversation_id": "conv-1", "run_id": "run_abc123", "thread_id": "thread_abc123"},
            ]
        }
    )
