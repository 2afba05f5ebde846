"""The calls of the HTTP API (contract §3), one module a subject."""

from worker.web.routes import calls, conversations, events, handoffs, health, kpis, replies, runs, webhooks

_MODULES = (conversations, runs, calls, handoffs, events, replies, kpis, health, webhooks)

ROUTERS = tuple(module.router for module in _MODULES)
