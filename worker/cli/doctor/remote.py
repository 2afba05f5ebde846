"""What the doctor finds outside: the platform, its clock, our functions there, and the CRM."""

import asyncio
import contextlib
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import urlsplit

from worker import platforms, schema_sync
from worker.catalog import Catalog
from worker.cli.doctor.finding import Finding, Level, bad, note, ok
from worker.errors import PlatformError, PlatformGone
from worker.outbound import client
from worker.platforms.definitions import Stored
from worker.platforms.time_offset import time_offset_s
from worker.settings import Settings
from worker.tools import schema_names

_OPENAI = "https://api.openai.com/v1"
_CONNECT_S = 10.0

_OFFSET_NOTED_S, _OFFSET_BAD_S = 5.0, 240.0
"""A clock that is 5 minutes off gets every signed webhook refused."""


async def platform(settings: Settings) -> Sequence[Finding]:
    async with aclosing(platforms.connect(settings)) as platform:
        try:
            warnings = await platform.probe()
        except PlatformGone:
            return [bad("platform", PlatformGone.sentence)]
    if not warnings:
        return [ok("platform", f"plataforma: {settings.PLATFORM} atende")]
    reached = await _reach("platform", "plataforma", settings.OPENAI_BASE_URL or _OPENAI, _CONNECT_S)
    if reached.level is not Level.OK:
        return [reached]
    if unserved := await _unserved(settings):
        return [bad("platform", unserved)]
    return [bad("platform", warning) for warning in warnings]


async def _unserved(settings: Settings) -> str | None:
    """A sentence, if not even the list of assistants is there: then it is the address, and no wrong id."""
    stored = platforms.stored_assistants(settings)
    if stored is None:
        return None
    async with aclosing(stored):
        with contextlib.suppress(PlatformError):
            if not await stored.served():
                return (
                    f"{stored.host} não atende o protocolo de PLATFORM={settings.PLATFORM} neste endereço: "
                    "confira OPENAI_BASE_URL e OPENAI_API_VERSION"
                )
    return None


async def clock(settings: Settings) -> Sequence[Finding]:
    offset = await time_offset_s(settings)
    if offset is None:
        return [note("clock", "relógio: a plataforma não mostrou o dela; nada a comparar")]
    difference = (
        f"relógio: {abs(offset):.0f} s {'adiantado' if offset > 0 else 'atrasado'} em relação à plataforma"
    )
    if abs(offset) <= _OFFSET_NOTED_S:
        return [ok("clock", "relógio: certo com o da plataforma")]
    return [
        (note if abs(offset) <= _OFFSET_BAD_S else bad)("clock", f"{difference}; ligue a sincronização (NTP)")
    ]


async def discovery(settings: Settings) -> Sequence[Finding]:
    announced = "só as execuções anunciadas em POST /v1/runs são acompanhadas"
    if not platforms.spec(settings).discovers:
        return [note("discovery", f"descoberta: não existe na plataforma {settings.PLATFORM}; {announced}")]
    if settings.DISCOVER_INTERVAL_S == 0:
        return [note("discovery", f"descoberta: desligada (DISCOVER_INTERVAL_S=0); {announced}")]
    return [ok("discovery", f"descoberta: a cada {settings.DISCOVER_INTERVAL_S:g} s, em conversas ativas")]


# ------------------------------------------------------------------------------------------------ schemas


async def schemas(settings: Settings) -> Sequence[Finding]:
    target = schema_sync.Target(schema_sync.load(schema_names(), catalog=Catalog.configured(settings)))
    stored = platforms.stored_assistants(settings)
    if stored is None:
        return [
            note(
                "schemas",
                f"funções: a plataforma {settings.PLATFORM} não guarda assistentes; o bot as envia "
                "(grave-as com sync-schema --out ARQUIVO)",
            )
        ]
    if not settings.assistant_ids:
        return [
            note(
                "schemas",
                "funções: nenhum assistente configurado (FINANCEIRO_ASSISTANT_ID, …); nada a comparar",
            )
        ]
    async with aclosing(stored):
        return [await _schema(stored, name, each, target) for name, each in settings.assistant_ids.items()]


async def _schema(stored: Stored, name: str, identifier: str, target: schema_sync.Target) -> Finding:
    try:
        found = await schema_sync.compare(stored, identifier, target)
    except PlatformError as failure:
        return bad("schemas", f"funções de {name}: {schema_sync.sentence(failure)}")
    if found.changes:
        return note("schemas", f"funções de {name}: {schema_sync.summary(found)}; corrija com sync-schema")
    return ok("schemas", f"funções de {name}: iguais às desta versão")


# ---------------------------------------------------------------------------------------------------- CRM


_WHY = {
    "timeout": "não respondeu a tempo",
    "dns": "o nome não foi encontrado",
    "tls": "o certificado TLS não foi aceito",
    "connect": "a conexão foi recusada",
    "proxy": "o proxy recusou",
}


_WHOM = {
    "platform": "confira OPENAI_BASE_URL e a saída desta máquina para a internet",
    "crm": "confira o endereço nas configurações, ou avise quem cuida do CRM",
    "bot": "confira BOT_WEBHOOK_URL, ou avise quem cuida do bot",
}
"""Who can help when a connection fails, by the finding's code."""


class _Reached(Exception):
    """The request would be written now; it is not."""


async def crm(settings: Settings) -> Sequence[Finding]:
    named = {"CRM": settings.CRM_WEBHOOK_URL, "consulta ao CRM": settings.CRM_LOOKUP_URL}
    return [await _reach("crm", name, url, settings.CRM_TIMEOUT_S) for name, url in named.items() if url]


async def bot(settings: Settings) -> Sequence[Finding]:
    """Where events go. None is sent."""
    if settings.BOT_WEBHOOK_URL is None:
        return []
    return [await _reach("bot", "bot", settings.BOT_WEBHOOK_URL, _CONNECT_S)]


async def _reach(code: str, name: str, url: str, timeout_s: float) -> Finding:
    """Connect, TLS included, by the way a request would go, and hang up before a byte of HTTP is sent."""
    host = urlsplit(url).hostname
    try:
        async with asyncio.timeout(timeout_s), client.client(url, timeout_s) as http:
            with contextlib.suppress(_Reached):
                await http.head(url, extensions={"trace": _hang_up})
    except Exception as error:  # noqa: BLE001  # some are the transport's, some the standard library's
        cause = client.code(error)
        why = _WHY.get(cause, cause)
        return bad(code, f"{name}: não foi possível conectar a {host}: {why}; {_WHOM[code]}")
    untouched = "nenhum ticket foi aberto" if code == "crm" else "nada foi enviado"
    return ok(code, f"{name}: {host} aceita conexões ({untouched})")


async def _hang_up(event: str, info: dict[str, Any]) -> None:
    """A proxy is asked for its tunnel; the CRM is asked nothing."""
    if event.endswith("send_request_headers.started") and info["request"].method != b"CONNECT":
        raise _Reached
