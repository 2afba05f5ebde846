"""The HTTP API over a real store, as `wiring` builds it."""

import re
from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo

import httpx
from fastapi import FastAPI
from starlette.types import ASGIApp

from worker.engine.reply_check import ReplyCheck
from worker.store.store import Store
from worker.web.app import create_api
from worker.web.dependencies import Services


def api_over(store: Store, *, token: str | None = None, **changes: Any) -> FastAPI:
    """Without a token and without webhooks unless named; `changes` are fields of `Services`."""
    return create_api(services(store, changes), token=token)


def services(store: Any, changes: Mapping[str, Any]) -> Services:
    """On the platform `assistants`, in São Paulo; `changes` are fields of `Services`."""
    fields: dict[str, Any] = {
        "platform": "assistants",
        "zone": ZoneInfo("America/Sao_Paulo"),
        "protocolo": re.compile(r"^\d{8,20}$"),
        "wake": lambda run_id: None,
        "alive": lambda: True,
        "replies": ReplyCheck(getattr(store, "replies", None)),  # fake records have none
    }
    return Services(store=store, **{**fields, **changes})


def calling(app: ASGIApp, **options: Any) -> httpx.AsyncClient:
    """A client of `app` that needs no socket."""
    transport = httpx.ASGITransport(app, client=options.pop("client", ("127.0.0.1", 50000)))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080", **options)
