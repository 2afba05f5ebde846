"""The calls of the HTTP API (contract §3), one module a subject."""

from worker.web.routes import calls, conversations, handoffs, health, kpis, runs, webhooks

ROUTERS = tuple(module.router for module in (conversations, runs, calls, handoffs, kpis, health, webhooks))
