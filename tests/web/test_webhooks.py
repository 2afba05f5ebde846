"""The platform's webhooks (contract §3): who is believed, what is taken, what is looked into."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import httpx
import pytest

from tests.asgi import api_over, calling
from tests.fakes import until
from tests.store.harness import Rig
from tests.web.webhook_sender import ACTION_REQUIRED, COMPLETED, PATH, SECRET, event, send, signed
from worker import metrics, platforms
from worker.errors import (
    PlatformError,
    PlatformRefused,
    PlatformUnavailable,
    RunGone,
    StoreError,
    StoreUnavailable,
)
from worker.settings import Settings
from worker.web import webhooks
from worker.web.webhooks import WebhookReceiver


class Clock:
    """Waits are over at once, and remembered."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)


class House:
    """The API with a doorbell, on the platform `responses`; `threads` says what the platform would say."""

    def __init__(self, rig: Rig, platform: str = "responses", token: str | None = "t0ken") -> None:
        self.rig, self.clock = rig, Clock()
        self.woken: list[str] = []
        self.asked: list[str] = []
        self.threads: dict[str, list[str | PlatformError | None]] = {}
        self.bell = WebhookReceiver(
            SECRET,
            rig.store.webhooks,
            wake_event=platforms.spec(Settings(PLATFORM=platform)).wake_event,
            thread_of=self._thread_of,
            wake=self.woken.append,
            clock=self.clock,
        )
        app = api_over(rig.store, token=token, webhooks=self.bell, platform=platform)
        self.api = calling(app)

    async def seen(self) -> list[str]:
        """The webhooks that the store remembers."""
        return [row.webhook_id for row in await self.rig.rows("webhook_ids")]

    async def _thread_of(self, run_id: str) -> str | None:
        self.asked.append(run_id)
        said = self.threads[run_id].pop(0)
        if isinstance(said, PlatformError):
            raise said
        return said


@pytest.fixture
async def rig(sqlite_rig: Rig) -> Rig:
    """A store that watches `resp_known`, and knows the thread `thread_c1`."""
    await sqlite_rig.announce("c1", "resp_known", None)
    return sqlite_rig


@pytest.fixture
async def house(rig: Rig) -> AsyncIterator[House]:
    made = House(rig)
    looking = asyncio.create_task(made.bell.run())
    async with made.api:
        yield made
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking


def dropped() -> float:
    return metrics.registry.get_sample_value("ticket_worker_webhooks_dropped_total") or 0.0


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


# ------------------------------------------------------------------------------------------ who is believed


async def test_a_signed_webhook_wakes_the_run_it_names_and_needs_no_token(house: House) -> None:
    answer = await send(house.api, "resp_known")
    assert (answer.status_code, answer.content) == (204, b"")
    assert house.woken == ["resp_known"]
    assert house.asked == []


async def test_a_webhook_comes_from_another_site_and_to_any_name_of_ours(rig: Rig) -> None:
    body = event("resp_known")
    foreign = {"Host": "bot.example", "Sec-Fetch-Site": "cross-site", "Origin": "https://openai.example"}
    for token in (None, "t0ken"):
        house = House(rig, token=token)
        async with house.api as api:
            answer = await api.post(PATH, content=body, headers={**signed(body, f"wh_{token}"), **foreign})
            assert answer.status_code == 204
            assert house.woken == ["resp_known"]
            assert (await api.post("/v1/runs", headers=foreign)).status_code == 403


OTHER_SECRET = "whsec_" + "QUJD" * 8


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in signed(event("resp_known")).items() if key != name}


@pytest.mark.parametrize(
    "headers",
    [
        signed(event("resp_known"), secret=OTHER_SECRET),
        signed(event("resp_other")),
        signed(event("resp_known"), age_s=3600),
        signed(event("resp_known"), age_s=-3600),
        without("webhook-id"),
        without("webhook-timestamp"),
        without("webhook-signature"),
        {**signed(event("resp_known")), "webhook-id": "wh_2"},
        {**signed(event("resp_known")), "webhook-id": ""},
        {**signed(event("resp_known")), "webhook-timestamp": "nan"},
        {**signed(event("resp_known")), "webhook-timestamp": "1e400"},
        {**signed(event("resp_known")), "webhook-timestamp": "agora"},
        {**signed(event("resp_known")), "webhook-signature": "v1"},
        {**signed(event("resp_known")), "webhook-signature": "v1,a"},
        {**signed(event("resp_known")), "webhook-signature": "v1,"},
        {**signed(event("resp_known")), "webhook-signature": "v1,a,b"},
        {**signed(event("resp_known")), "webhook-signature": "v2,a"},
    ],
)
async def test_what_is_not_signed_by_the_platform_just_now_is_refused(
    house: House, headers: dict[str, str]
) -> None:
    answer = await house.api.post(PATH, content=event("resp_known"), headers=headers)
    assert code(answer) == (400, "assinatura_invalida")
    assert (house.woken, await house.seen()) == ([], [])


async def test_one_good_signature_among_several_is_enough(house: House) -> None:
    body = event("resp_known")
    headers = signed(body)
    rotated = signed(body, secret=OTHER_SECRET)["webhook-signature"]
    headers["webhook-signature"] = f"v2,x {rotated} {headers['webhook-signature']}"
    assert (await house.api.post(PATH, content=body, headers=headers)).status_code == 204


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 100_000, b'{"type": NaN0}'])
async def test_a_signed_body_that_is_not_json_is_refused(house: House, body: bytes) -> None:
    answer = await house.api.post(PATH, content=body, headers=signed(body))
    assert code(answer) == (400, "json_invalido")


async def test_a_body_that_is_no_text_is_refused(house: House) -> None:
    answer = await house.api.post(PATH, content=b"\xff\xfe", headers=signed(b"x"))
    assert code(answer) == (400, "assinatura_invalida")


async def test_without_a_secret_there_is_no_such_address(rig: Rig) -> None:
    async with calling(api_over(rig.store, token="t0ken")) as api:
        assert code(await send(api, "resp_known")) == (404, "nao_encontrado")


async def test_a_webhook_is_posted(house: House) -> None:
    answer = await house.api.get(PATH)
    assert code(answer) == (405, "metodo_nao_permitido")
    assert answer.headers["allow"] == "POST"


# -------------------------------------------------------------------------------------------- what is taken


async def test_a_webhook_that_is_sent_again_counts_once(house: House) -> None:
    for _ in range(3):
        assert (await send(house.api, "resp_known", "wh_7")).status_code == 204
    assert house.woken == ["resp_known"]
    await send(house.api, "resp_known", "wh_8")
    assert house.woken == ["resp_known"] * 2


@pytest.mark.parametrize(
    "body",
    [
        event("resp_known", "response.failed"),
        event("resp_known", ACTION_REQUIRED),
        event("resp known"),
        event("resp_" + "x" * 256),
        event(7),
        b'{"type": "response.completed"}',
        b'{"type": "response.completed", "data": []}',
        b'{"type": 7, "data": {"id": "resp_known"}}',
        b'{"data": {"id": "resp_known"}}',
        b"[]",
        b"null",
    ],
)
async def test_what_is_not_for_us_is_taken_and_ignored(house: House, body: bytes) -> None:
    answer = await house.api.post(PATH, content=body, headers=signed(body))
    assert answer.status_code == 204
    assert (house.woken, house.asked, await house.seen()) == ([], [], [])


@pytest.mark.parametrize(
    ("platform", "kinds"),
    [("agents", [ACTION_REQUIRED]), ("responses", [COMPLETED]), ("assistants", [])],
)
async def test_each_platform_has_one_type_that_wakes(rig: Rig, platform: str, kinds: list[str]) -> None:
    house = House(rig, platform)
    async with house.api as api:
        for kind in (ACTION_REQUIRED, COMPLETED):
            assert (await send(api, "resp_known", f"wh_{kind}", kind)).status_code == 204
    assert await house.seen() == [f"wh_{kind}" for kind in kinds]


async def test_what_could_not_be_written_down_is_not_taken_and_may_come_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(webhook_id: str, run_id: str) -> bool | None:
        raise StoreError("disk")

    with monkeypatch.context() as disk_full:
        disk_full.setattr(house.rig.store.webhooks, "record", fails)
        assert code(await send(house.api, "resp_known")) == (503, "indisponivel")
    assert (await send(house.api, "resp_known")).status_code == 204
    assert house.woken == ["resp_known"]


# ----------------------------------------------------------------------------- what is looked into afterwards


async def test_an_unknown_run_of_a_conversation_of_ours_is_watched_from_now_on(house: House) -> None:
    house.threads = {"resp_new": ["thread_c1"]}
    before = dropped()
    assert (await send(house.api, "resp_new")).status_code == 204
    await until(lambda: house.woken == ["resp_new"])
    assert dropped() == before


@pytest.mark.parametrize(
    "said", [[None], ["thread_of_others"], [RunGone(404)], [PlatformRefused(401)]], ids=str
)
async def test_a_run_of_nobody_we_know_is_dropped_and_counted(
    house: House, said: Iterable[str | PlatformError | None]
) -> None:
    house.threads = {"resp_new": list(said)}
    before = dropped()
    assert (await send(house.api, "resp_new")).status_code == 204
    await until(lambda: dropped() == before + 1)
    assert (house.woken, house.asked, house.clock.waits) == ([], ["resp_new"], [])


async def test_a_platform_that_does_not_answer_is_asked_again_and_its_wish_is_a_floor(house: House) -> None:
    house.threads = {"resp_new": [PlatformUnavailable(), PlatformUnavailable(429, None, 9.0), "thread_c1"]}
    await send(house.api, "resp_new")
    await until(lambda: house.woken == ["resp_new"])
    assert house.clock.waits == [1.0, 9.0]


async def test_a_platform_that_never_answers_is_given_up(house: House) -> None:
    house.threads = {"resp_new": [PlatformUnavailable()] * 4}
    before = dropped()
    await send(house.api, "resp_new")
    await until(lambda: dropped() == before + 1)
    assert house.clock.waits == [1.0, 5.0, 25.0]


async def test_a_platform_that_wishes_us_away_for_a_day_is_asked_again_after_a_minute(house: House) -> None:
    """The other webhooks wait behind a few such: a day of them would be lost."""
    house.threads = {"resp_new": [PlatformUnavailable(503, None, 86_400.0)] * 3 + ["thread_c1"]}
    await send(house.api, "resp_new")
    await until(lambda: house.woken == ["resp_new"])
    assert house.clock.waits == [60.0, 60.0, 60.0]


async def test_a_run_is_watched_once_a_database_that_was_away_is_back(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.threads = {"resp_new": ["thread_c1"]}
    found, away = house.rig.store.webhooks.watch, [StoreUnavailable(), StoreUnavailable()]

    async def away_for_a_while(run_id: str, thread_id: str) -> bool:
        if away:
            raise away.pop()
        return await found(run_id, thread_id)

    monkeypatch.setattr(house.rig.store.webhooks, "watch", away_for_a_while)
    await send(house.api, "resp_new")
    await until(lambda: house.woken == ["resp_new"])


async def test_a_flood_of_runs_of_others_is_dropped_beyond_a_bound(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhooks, "_WAITING", 2)
    house = House(rig)
    before = dropped()
    async with house.api as api:
        for number in range(5):
            assert (await send(api, f"resp_{number}", f"wh_{number}")).status_code == 204
        await send(api, "resp_known", "wh_known")
    assert dropped() == before + 3
    assert house.woken == ["resp_known"]


async def test_run_raises_what_the_store_fails_with_afterwards(
    rig: Rig,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    house = House(rig)
    house.threads = {"resp_new": ["thread_c1"]}

    async def fails(run_id: str, thread_id: str) -> bool:
        raise StoreError("disk")

    monkeypatch.setattr(house.rig.store.webhooks, "watch", fails)
    async with house.api as api:
        await send(api, "resp_new")
    with pytest.raises(ExceptionGroup) as raised:
        await house.bell.run()
    assert raised.group_contains(StoreError)
