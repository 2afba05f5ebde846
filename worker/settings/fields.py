"""Every setting, its type and its default (contract §2). What is wrong is said without the value."""

import re
from base64 import b64decode
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cryptography.fernet import Fernet
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from worker.settings.platforms import PLATFORMS, platform_names

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


def _bad(message: str) -> PydanticCustomError:
    """A problem in our own words: pydantic's would carry the value, which may be a secret."""
    return PydanticCustomError("setting", "{message}", {"message": message})


def _url(value: object) -> object:
    if isinstance(value, str) and not _is_http_url(value):
        raise _bad("precisa ser uma URL http:// ou https:// completa")
    return value


def _is_http_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    complete = parts.scheme in {"http", "https"} and bool(parts.hostname) and port != 0
    # urlsplit forgives line breaks; httpx does not.
    return complete and not re.search(r"[\s\x00-\x1f\x7f]", text)


NAMED_ASSISTANTS = ("FINANCEIRO", "SUPORTE", "RECEPCAO")
"""The document's assistants, each with a setting of its own."""

HttpUrl = Annotated[str, BeforeValidator(_url)]


def _platform(text: str) -> str:
    if text not in PLATFORMS:
        raise _bad(f"precisa ser {platform_names()}")
    return text


class Settings(BaseModel):
    """One field a setting, by its own name. Empty means unset. Units are in the names (`_S` = seconds).

    Nothing secret is in its `repr`: URLs may hold a password or a token as well.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, validate_default=True)

    PLATFORM: Annotated[str, AfterValidator(_platform)] | None = None
    OPENAI_API_KEY: SecretStr | None = None
    OPENAI_BASE_URL: HttpUrl | None = Field(default=None, repr=False)
    OPENAI_API_VERSION: str | None = None
    OPENAI_AUTH: Literal["key", "entra"] = "key"
    OPENAI_WEBHOOK_SECRET: SecretStr | None = None

    FINANCEIRO_ASSISTANT_ID: str | None = None
    SUPORTE_ASSISTANT_ID: str | None = None
    RECEPCAO_ASSISTANT_ID: str | None = None

    ASSISTANT_IDS: str | None = None
    CATALOG_FILE: str | None = None
    HANDOFF_SLA_S: Annotated[float, Field(ge=0, le=2_592_000, allow_inf_nan=False)] = 900.0

    CRM_WEBHOOK_URL: HttpUrl | None = Field(default=None, repr=False)
    CRM_LOOKUP_URL: HttpUrl | None = Field(default=None, repr=False)
    CRM_IDEMPOTENT: bool = True
    CRM_AUTH_HEADER: SecretStr | None = None
    CRM_TIMEOUT_S: Seconds = 10.0
    CRM_SETTLE_S: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 20.0
    CRM_MAX_ATTEMPTS: Count = 3
    CRM_BACKOFF_BASE_S: Seconds = 0.5
    CRM_BACKOFF_MAX_S: Seconds = 5.0
    CRM_BREAKER_FAILURES: Count = 5
    CRM_BREAKER_RESET_S: Seconds = 30.0
    CRM_PROTOCOL_PATTERN: str = r"^\d{8,20}$"
    CRM_CONCURRENCY: Count = 32

    CALL_DEADLINE_S: Seconds = 120.0
    MAX_ROUNDS: Count = 25

    DATABASE_URL: str = Field(default="sqlite:///data/worker.db", repr=False)
    DATABASE_GRACE_S: Seconds = 300.0
    DATA_KEYS: SecretStr | None = None

    HTTP_HOST: str = "127.0.0.1"
    HTTP_PORT: Annotated[int, Field(ge=0, le=65535)] = 8080
    API_TOKEN: SecretStr | None = None
    TRUSTED_PROXIES: str | None = None

    BOT_WEBHOOK_URL: HttpUrl | None = Field(default=None, repr=False)
    BOT_WEBHOOK_SECRET: SecretStr | None = None
    TOOL_FORWARD_URL: HttpUrl | None = Field(default=None, repr=False)
    TOOL_TIMEOUT_S: Seconds = 10.0

    POLL_MIN_S: Seconds = 0.25
    POLL_MAX_S: Seconds = 5.0
    POLL_RATE: Seconds = 200.0
    DISCOVER_INTERVAL_S: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 10.0
    DISCOVER_WINDOW_S: Seconds = 900.0
    MAX_RUNS: Count = 10_000
    REPLY_CHECK: Literal["on", "off"] = "on"
    ATTACHMENT_FRESH_S: Seconds = 300.0
    SHUTDOWN_GRACE_S: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 20.0
    RETENTION_PAYLOAD_DAYS: Count = 30
    RETENTION_RECORD_DAYS: Count = 730

    CONVERSATION_URL: HttpUrl | None = Field(default=None, repr=False)
    TIMEZONE: str = "America/Sao_Paulo"
    LOG_LEVEL: Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    LOG_FORMAT: Literal["text", "json"] = "text"
    LOG_DIR: str = "logs"

    @property
    def assistant_ids(self) -> dict[str, str]:
        """The configured assistants by their name."""
        named = {
            "FINANCEIRO": self.FINANCEIRO_ASSISTANT_ID,
            "SUPORTE": self.SUPORTE_ASSISTANT_ID,
            "RECEPCAO": self.RECEPCAO_ASSISTANT_ID,
        }
        configured = {name: assistant for name, assistant in named.items() if assistant}
        return configured | dict(_pairs(self.ASSISTANT_IDS or ""))

    @property
    def data_keys(self) -> list[str]:
        """The Fernet keys: the first encrypts, all decrypt."""
        return _split(self.DATA_KEYS)

    @property
    def trusted_proxies(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """Whose `X-Forwarded-For` is believed; an address is a network of its own."""
        return tuple(map(ip_network, _parts(self.TRUSTED_PROXIES or "")))

    @field_validator("LOG_LEVEL", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("ASSISTANT_IDS")
    @classmethod
    def _named_assistants(cls, value: str | None) -> str | None:
        pairs = _pairs(value or "")
        names = [name for name, _ in pairs]
        for name, identifier in pairs:
            if not re.fullmatch(r"(?!.*[0-9]{4})[A-Z][A-Z0-9_]{0,31}", name) or not re.fullmatch(
                r"[\x21-\x7e]+", identifier
            ):
                raise _bad(
                    "precisa ter a forma COMERCIAL=asst_…,OUVIDORIA=asst_… (nomes sem acento nem espaço)"
                )
            if name in NAMED_ASSISTANTS:
                raise _bad(f"não pode repetir {name}: use {name}_ASSISTANT_ID")
            if names.count(name) > 1:
                raise _bad(f"tem {name} mais de uma vez")
        return value

    @field_validator("CONVERSATION_URL")
    @classmethod
    def _names_the_conversation(cls, value: str | None) -> str | None:
        if value is not None and "{conversation_id}" not in value:
            raise _bad("precisa ter {conversation_id} no lugar do id da conversa")
        return value

    @field_validator("TIMEZONE")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise _bad("não é um fuso conhecido; use um nome como America/Sao_Paulo") from None
        return value

    @field_validator("CRM_PROTOCOL_PATTERN")
    @classmethod
    def _compiles(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error:
            raise _bad("não é uma expressão regular válida") from None
        return value

    @field_validator("OPENAI_API_KEY", "API_TOKEN")
    @classmethod
    def _fits_a_header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[\x21-\x7e]+", value.get_secret_value()):
            raise _bad("tem espaços ou caracteres que não cabem num cabeçalho HTTP")
        return value

    @field_validator("BOT_WEBHOOK_SECRET", "OPENAI_WEBHOOK_SECRET")
    @classmethod
    def _webhook_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            try:
                usable = bool(b64decode(value.get_secret_value().removeprefix("whsec_"), validate=True))
            except ValueError:
                usable = False
            if not usable:
                raise _bad("precisa ter a forma whsec_ seguida de base64")
        return value

    @field_validator("CRM_AUTH_HEADER")
    @classmethod
    def _header(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(
            r"[A-Za-z0-9_-]+:[ \t]*[\x21-\x7e][\x20-\x7e]*", value.get_secret_value()
        ):
            raise _bad('precisa ter a forma "Nome-Do-Cabecalho: valor"')
        return value

    @field_validator("TRUSTED_PROXIES")
    @classmethod
    def _networks(cls, value: str | None) -> str | None:
        try:
            list(map(ip_network, _parts(value or "")))
        except ValueError:
            raise _bad("precisa ser uma lista de endereços ou redes, como 127.0.0.1, 10.0.0.0/8") from None
        return value

    @field_validator("DATABASE_URL")
    @classmethod
    def _database(cls, value: str) -> str:
        if not re.match(r"(sqlite:///.+|postgres(ql)?://)", value):
            raise _bad("precisa começar com sqlite:/// ou postgresql://")
        return value

    @field_validator("DATA_KEYS")
    @classmethod
    def _fernet_keys(cls, value: SecretStr | None) -> SecretStr | None:
        keys = _split(value)
        if value is not None and not keys:
            raise _bad("não contém nenhuma chave; crie uma com: ticket-worker keygen")
        for key in keys:
            try:
                Fernet(key)
            except ValueError:
                raise _bad("contém uma chave que não é Fernet; crie uma com: ticket-worker keygen") from None
        return value

    @field_validator("POLL_MAX_S")
    @classmethod
    def _above_minimum(cls, value: float, info: ValidationInfo) -> float:
        if value < info.data.get("POLL_MIN_S", 0):
            raise _bad("não pode ser menor que POLL_MIN_S")
        return value


def _pairs(text: str) -> list[tuple[str, str]]:
    """`NAME=id,NAME=id`, the names in upper case; an id of nothing where there is no `=`."""
    parts = [part.partition("=") for part in text.split(",") if part.strip()]
    return [(name.strip().upper(), identifier.strip()) for name, _, identifier in parts]


def _split(secret: SecretStr | None) -> list[str]:
    return _parts(secret.get_secret_value() if secret else "")


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False
