"""What a rehearsal runs on: the worker itself, with nothing live in reach."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.databases import KEY
from tests.fakes import FakePlatform, asks, call
from worker.catalog import Catalog
from worker.errors import PlatformError, PlatformRefused, PlatformUnavailable
from worker.model import CallState, RunRef, RunSnapshot, RunState, RunStatus
from worker.personal import Personal
from worker.rehearsal.metering import MeteredPlatform
from worker.rehearsal.scenarios import CrmState
from worker.rehearsal.stage import open_stage, rehearsal_settings
from worker.settings import Settings
from worker.times import SystemClock

MakeSettings = Callable[..., Settings]

TICKET = {"resumo": "Maria pagou", "setor": "FINANCEIRO", "motivo": "PAGAMENTO"}


class StoppedClock(SystemClock):
    """A clock that goes on when it is told to."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


ENDED = RunSnapshot(RunStatus.ENDED, "completed", reason="concluida", tokens=70)


def test_nothing_live_is_left_in_the_settings(make_settings: MakeSettings, tmp_path: Path) -> None:
    live = {
        "CRM_LOOKUP_URL": "http://crm.example/lookup",
        "CRM_AUTH_HEADER": "X-Api-Key: live",
        "CRM_PROTOCOL_PATTERN": "^LIVE",
        "BOT_WEBHOOK_URL": "http://bot.example/",
        "BOT_WEBHOOK_SECRET": "whsec_c2VncmVkbw==",
        "TOOL_FORWARD_URL": "http://bot.example/tools",
        "OPENAI_WEBHOOK_SECRET": "whsec_c2VncmVkbw==",
    }
    settings = make_settings(**live)
    own = rehearsal_settings(settings, database=tmp_path / "own.db", crm_url="http://127.0.0.1:1/")
    changed = {name for name in Settings.model_fields if getattr(own, name) != getattr(settings, name)}
    assert changed == {
        *live,
        "CRM_WEBHOOK_URL",
        "DATABASE_URL",
        "DATA_KEYS",
        "DISCOVER_INTERVAL_S",
        "REPLY_CHECK",
        "SHUTDOWN_GRACE_S",
    }
    assert own.data_keys != [KEY]
    assert f"sqlite:///{tmp_path}/own.db" == own.DATABASE_URL


@pytest.mark.parametrize(
    ("crm", "state", "error"),
    [
        (CrmState.OK, CallState.DONE, None),
        (CrmState.DOWN, CallState.FAILED, "crm_indisponivel"),
        (CrmState.NO_PROTOCOLO, CallState.NO_PROTOCOL, "sem_protocolo"),
    ],
)
async def test_the_calls_are_answered_by_the_worker_itself(
    crm: CrmState, state: CallState, error: str | None, make_settings: MakeSettings, tmp_path: Path
) -> None:
    platform = FakePlatform()
    platform.script("run_1", asks(call(1, "abrir_ticket_crm", TICKET)), ENDED)
    metered = MeteredPlatform(platform, SystemClock())
    settings = make_settings(CRM_BACKOFF_BASE_S=0.01, CRM_BACKOFF_MAX_S=0.01)
    async with open_stage(settings, metered, Catalog.load(), crm, tmp_path) as stage:
        about = {"client_document": Personal("52998224725"), "assistant": "FINANCEIRO"}
        await stage.announce("ensaio-1", RunRef("run_1", "thread_1"), about)
        run = await stage.ended("run_1", lambda: None)
        (made,) = await stage.calls("ensaio-1")
        assert await stage.chain("run_1") == ["run_1"]
    assert (run.state, run.reason) == (RunState.ENDED, "concluida")
    assert (made.state, made.error) == (state, error)
    assert (made.setor, made.motivo) == ("FINANCEIRO", "PAGAMENTO")
    assert metered.reads("thread_1") == 2
    assert metered.tokens("thread_1") == 70
    assert metered.tokens("thread_2") is None


async def test_a_platform_that_answers_no_poll_for_a_minute_is_away() -> None:
    clock, platform = StoppedClock(), FakePlatform()
    metered, ref = MeteredPlatform(platform, clock), RunRef("run_1", "thread_1")
    working = RunSnapshot(RunStatus.WORKING, "in_progress")
    platform.script(
        "run_1", PlatformUnavailable(500), working, PlatformUnavailable(500), PlatformRefused(401), working
    )

    async def fail() -> None:
        with pytest.raises(PlatformError):
            await metered.inspect(ref)

    await fail()
    clock.now += 61
    with pytest.raises(PlatformUnavailable):
        metered.check("thread_1")
    await metered.inspect(ref)  # it is back
    metered.check("thread_1")
    await fail()
    clock.now += 40
    await fail()
    metered.check("thread_1")
    clock.now += 21
    with pytest.raises(PlatformRefused):
        metered.check("thread_1")
    metered.check("thread_2")


async def test_a_run_that_does_not_end_is_given_up(
    make_settings: MakeSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.rehearsal.stage.TURN_LIMIT_S", 0.0)
    platform = FakePlatform()
    platform.script("run_1", RunSnapshot(RunStatus.WORKING, "in_progress"))
    async with open_stage(
        make_settings(), MeteredPlatform(platform, SystemClock()), Catalog.load(), CrmState.OK, tmp_path
    ) as stage:
        await stage.announce("ensaio-1", RunRef("run_1", "thread_1"), {})
        assert (await stage.ended("run_1", lambda: None)).state is RunState.WATCHING
