"""The API's own description, turned against it by schemathesis: whatever is asked, it answers as it says."""

from collections import Counter
from collections.abc import Callable

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.asgi import api_over
from tests.store.harness import AMBIGUOUS, HANDOFF, NO_PROTOCOL, REJECTION, UNKNOWN, Rig
from worker.settings import Settings
from worker.store.store import Store
from worker.times import SystemClock
from worker.web.middleware import LoginThrottle
from worker.web.webhooks import WebhookReceiver

TOKEN = "fuzz"
SIGNED = "POST /v1/webhooks/openai"
"""A signature is not to be guessed: this one only refuses here, however well-formed what it is sent."""

RETURN = "POST /v1/handoffs/{handoff_id}/return"
"""Only what a person attends to is returned: no generator finds one (tests/web/test_handoffs.py does)."""
USED_UP = {
    "POST /v1/runs",
    "POST /v1/calls/{call_id}/resolve",
    "POST /v1/calls/{call_id}/dismiss",
    "DELETE /v1/calls/{call_id}/dismiss",
    "POST /v1/runs/{run_id}/dismiss",
    "DELETE /v1/runs/{run_id}/dismiss",
    "POST /v1/events/{event_id}/retry",
    "POST /v1/events/{event_id}/discard",
}
"""Each succeeds once a thing, and an earlier request may have used it up (a conversation may be erased).

`test_operators` and `test_api` show them succeed.
"""

CONFIG = {
    "seed": 20251027,
    "headers": {"Authorization": f"Bearer {TOKEN}"},
    "workers": 1,
    "continue-on-failure": True,
    "generation": {"max-examples": 10, "deterministic": True, "database": "none"},
    # No schema can say what a check digit, a cursor or another call's protocolo is: those are 422.
    "checks": {"positive_data_acceptance": {"expected-statuses": ["2xx", 401, 404, 409, 410, 422]}},
    "operations": [{"include-name": SIGNED, "checks": {"positive_data_acceptance": {"enabled": False}}}],
}


pytestmark = pytest.mark.untraced(threads=True)


class Served:
    """The API over a real store, opened in the event loop that serves it, after a day with every trouble."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        store = await Store.open(self._settings, "assistants", owner=True)
        await _bad_day(Rig(store))
        self._app = _api(store, self._settings)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await store.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _bad_day(rig: Rig) -> None:
    for number, outcome in enumerate((AMBIGUOUS, UNKNOWN, NO_PROTOCOL)):
        conversation = await rig.conversation(f"c{number}")
        run = await rig.run(f"run_{number}", conversation)
        await rig.settled(await rig.attempted(await rig.admit(run, 1)), outcome)
        await rig.admit(run, 2, HANDOFF)
        await rig.admit(run, 3, REJECTION)
        await rig.lost(await rig.run(f"lost_{number}", conversation))
    for event in await rig.store.outbox.claim("me", 100, 10.0):
        await rig.store.outbox.give_up(event, "http_500")


def _api(store: Store, settings: Settings) -> ASGIApp:
    async def nobodys(run_id: str) -> str | None:
        return None

    bell = WebhookReceiver(
        "whsec_c2VncmVkbw==",
        store.webhooks,
        wake_event=None,
        thread_of=nobodys,
        wake=lambda run_id: None,
        clock=SystemClock(),
    )
    return api_over(store, webhooks=bell, token=TOKEN)


class Tally:
    """What was asked of each operation, and what came of it."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.succeeded: set[str] = set()
        self.checks = 0
        self.problems: set[str] = set()

    def add(self, event: events.EngineEvent) -> None:
        if isinstance(event, (events.NonFatalError, events.FatalError)):
            self.problems.add(repr(event))
        if isinstance(event, events.ScenarioFinished):
            self._add(event)

    def _add(self, event: events.ScenarioFinished) -> None:
        recorder = event.recorder
        for case_id, interaction in recorder.interactions.items():
            assert interaction.response is not None
            status = interaction.response.status_code
            self.asked[event.phase.value] += 1
            self.statuses[status] += 1
            if status < 300:
                self.succeeded.add(recorder.cases[case_id].value.operation.label)
        for case_id, checks in recorder.checks.items():
            self.checks += len(checks)
            request = recorder.interactions[case_id].request
            for check in checks:
                if check.failure_info is not None:
                    failure = check.failure_info.failure
                    told = f"{check.name}: {failure.title}: {failure.message}"
                    self.problems.add(f"{request.method} {request.uri} {request.body!r}: {told}")

    def __str__(self) -> str:
        phases = ", ".join(f"{name} {count}" for name, count in self.asked.items())
        statuses = ", ".join(f"{status}×{count}" for status, count in sorted(self.statuses.items()))
        return (
            f"schemathesis {schemathesis.__version__}: {self.asked.total()} requests ({phases}), "
            f"{self.checks} checks, {len(self.problems)} failed; answers: {statuses}"
        )


def test_whatever_is_asked_is_answered_as_described(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Requests without the token are part of it, and would lock the others out.
    monkeypatch.setattr(LoginThrottle, "LIMIT", 1_000_000)
    schema = schemathesis.openapi.from_asgi(
        "/openapi.json",
        Served(make_settings(BOT_WEBHOOK_URL="http://127.0.0.1:9/eventos")),
        config=SchemathesisConfig.from_dict(CONFIG),
        headers=CONFIG["headers"],
    )
    tally = Tally()
    for event in from_schema(schema).execute():
        tally.add(event)
    print(tally)  # noqa: T201  # shown by -s
    assert not tally.problems, "\n".join(sorted(tally.problems))
    every = {operation.ok().label for operation in schema.get_all_operations()}
    assert every - tally.succeeded - USED_UP - {RETURN} == {SIGNED}
