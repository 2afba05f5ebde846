"""Calls to the bot's own tools: what goes to the bot, and what of its answer reaches the model."""

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from tests.raw_server import Act, Gate, RawServer, reply, reset, say
from tests.tools.fake_attempts import FakeAttempts
from worker.errors import InternalError, Withdrawn
from worker.model import CallRecord, CallState, Conversation, Intent, Outcome, Rejection
from worker.outbound.guard import Guard, GuardPolicy
from worker.personal import Personal
from worker.times import SystemClock
from worker.tools.forward import Forward, ForwardSettings

SECRET = "whsec_c2VncmVkbyBkbyBib3Q="
CALL = CallRecord(
    call_id="tc_1",
    run_id="run_1",
    conversation_id="conversa-1",
    tool="consultar_fatura",
    state=CallState.RECEIVED,
    idempotency_key="tw-chave",
    body=Personal('{"cliente": "João 💙", "mes": 10}'),
    received_at=1_795_000_000.25,
)
KNOWN = Conversation("conversa-1", document=Personal("52998224725"))
FAILED = Outcome(CallState.FAILED, "ferramenta_falhou", certain=False)
POLICY = GuardPolicy(
    timeout_s=5,
    max_attempts=3,
    backoff_base_s=0.001,
    backoff_max_s=0.001,
    breaker_failures=100,
    breaker_reset_s=30,
    concurrency=4,
    resend_ambiguous=True,
)


@dataclass
class Desk:
    """A bot, and the tool that asks it."""

    bot: RawServer
    tool: Forward
    attempts: FakeAttempts

    async def perform(self, call: CallRecord = CALL) -> Outcome:
        return await self.tool.perform(call, self.attempts)


@contextlib.asynccontextmanager
async def asking(*acts: Act, default: Act | None = None, timeout_s: float = 5) -> AsyncIterator[Desk]:
    """A bot that does this, then answers `feito`."""
    async with RawServer(*acts, default=default or says("feito")).running() as bot:
        guard = Guard(replace(POLICY, timeout_s=timeout_s), SystemClock())
        try:
            yield Desk(bot, Forward(guard, ForwardSettings(bot.url, SECRET)), FakeAttempts())
        finally:
            await guard.aclose()


def says(output: object) -> Act:
    return reply(body=json.dumps({"output": output}, ensure_ascii=False).encode())


# ------------------------------------------------------------------------------------- what goes to the bot


async def test_the_bot_is_told_which_call_it_is_and_what_the_model_wants() -> None:
    async with asking() as desk:
        await desk.perform()
        (request,) = desk.bot.requests
    assert json.loads(request.body) == {
        "type": "tool.call",
        "timestamp": "2026-11-18T11:06:40.250000+00:00",
        "data": {
            "call_id": "tc_1",
            "run_id": "run_1",
            "conversation_id": "conversa-1",
            "tool": "consultar_fatura",
            "arguments": {"cliente": "João 💙", "mes": 10},
        },
    }
    assert "João 💙".encode() in request.body
    assert request.head.startswith("POST ")
    assert request.headers["content-type"] == "application/json; charset=utf-8"
    assert request.headers["idempotency-key"] == "tw-chave"


async def test_the_bot_can_verify_who_asks() -> None:
    async with asking() as desk:
        await desk.perform()
        (request,) = desk.bot.requests
    assert Webhook(SECRET).verify(request.body, request.headers)
    assert request.headers["webhook-id"] == "tw-chave"
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_b3V0cm8=").verify(request.body, request.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(request.body + b" ", request.headers)


async def test_every_attempt_sends_the_same_bytes_under_the_same_key() -> None:
    async with asking(reset(), reply(503)) as desk:
        assert (await desk.perform()).state is CallState.DONE
        assert len(desk.bot.requests) == desk.attempts.used == 3
        assert len({request.body for request in desk.bot.requests}) == 1
        assert {request.headers["idempotency-key"] for request in desk.bot.requests} == {"tw-chave"}


async def test_another_process_sends_the_very_same_bytes_again() -> None:
    async with asking() as desk:
        await desk.perform()
        await desk.perform(replace(CALL, state=CallState.RUNNING, maybe_sent=True, attempts=1))
        first, second = desk.bot.requests
        assert first.body == second.body
        assert first.headers["webhook-id"] == second.headers["webhook-id"]


async def test_a_failed_call_tried_again_by_an_equal_one_sends_the_very_same_bytes_again() -> None:
    again = replace(CALL, call_id="tc_2", run_id="run_2", received_at=CALL.received_at + 60, equal_to="tc_1")
    async with asking() as desk:
        await desk.perform()
        desk.attempts.first = CALL
        await desk.perform(again)
        first, second = desk.bot.requests
        assert first.body == second.body


def test_neither_url_nor_secret_is_shown() -> None:
    shown = repr(ForwardSettings("https://bot.test/?token=abc", SECRET))
    assert "abc" not in shown
    assert SECRET not in shown


# ------------------------------------------------------------------------------------ what the model is told


@pytest.mark.parametrize("output", ["feito", "", "Olá 💙\n", '{"success": false}', "abrir_ticket \\u0000"])
async def test_a_text_reaches_the_model_as_it_is(output: str) -> None:
    async with asking(says(output)) as desk:
        assert await desk.perform() == Outcome(CallState.DONE, certain=False, output=Personal(output))


@pytest.mark.parametrize("output", [{}, {"valor": 12.5, "itens": [1, None, {"nome": "João"}]}])
async def test_an_object_reaches_the_model_as_json(output: dict[str, object]) -> None:
    async with asking(says(output)) as desk:
        outcome = await desk.perform()
    assert outcome.output
    assert json.loads(outcome.output.reveal()) == output
    assert "\\u" not in outcome.output.reveal()


async def test_any_2xx_with_an_output_will_do_and_what_else_it_says_does_not_matter() -> None:
    async with asking(reply(202, b'{"output": "sim", "outro": [1]}', Content_Type="text/plain")) as desk:
        assert (await desk.perform()).output == Personal("sim")


DEEP = 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"feito",
        b"<html>",
        b"{",
        b"null",
        b"[]",
        b'["output"]',
        b"{}",
        b'{"Output": "x"}',
        *(b'{"output": %s}' % value for value in (b"null", b"5", b"1.5", b"true", b"[]", b'["x"]')),
        b'{"output": "\\ud800"}',
        b'{"output": "a\\u0000b"}',
        b'{"output": {"a": "\\ud800"}}',
        b'{"output": {"a": NaN}}',
        b'{"output": {"a": 1e999}}',
        b'{"output": {"a": %s}}' % (b"1" * 5_000),
        b'{"output": ' + b'{"a": ' * DEEP + b"1" + b"}" * DEEP + b"}",
    ],
    ids=lambda body: repr(body[:30]),
)
async def test_a_2xx_without_an_output_is_a_failure_and_is_not_asked_for_again(body: bytes) -> None:
    async with asking(reply(body=body)) as desk:
        assert await desk.perform() == FAILED
        assert desk.attempts.used == 1


@pytest.mark.parametrize("status", [301, 400, 401, 404, 410, 422])
async def test_a_refusal_is_a_failure_at_once(status: int) -> None:
    async with asking(default=reply(status, b'{"output": "x"}')) as desk:
        assert await desk.perform() == FAILED
        assert desk.attempts.used == 1


@pytest.mark.parametrize("act", [reply(500), reply(503), reply(429), reset(), say(b"")])
async def test_a_bot_that_never_answers_well_is_asked_three_times(act: Act) -> None:
    async with asking(default=act) as desk:
        assert await desk.perform() == FAILED
        assert desk.attempts.used == 3


async def test_a_bot_that_hangs_is_given_up() -> None:
    async with asking(default=Gate(says("tarde demais")), timeout_s=0.05) as desk:
        assert await desk.perform() == FAILED
        assert {detail for _, detail in desk.attempts.ends} == {"timeout"}


async def test_a_process_that_may_not_send_leaves_the_call_to_the_next() -> None:
    async with asking() as desk:
        desk.attempts.refuses = Withdrawn()
        with pytest.raises(Withdrawn):
            await desk.perform()
        assert desk.bot.requests == []


@pytest.mark.parametrize("lost", [{"body": None}, {"idempotency_key": None}])
async def test_a_call_whose_payload_is_gone_is_not_sent(lost: dict[str, None]) -> None:
    async with asking() as desk:
        with pytest.raises(InternalError):
            await desk.perform(replace(CALL, **lost))
        assert desk.bot.requests == []


async def test_a_forwarded_call_is_never_in_doubt() -> None:
    async with asking() as desk:
        assert await desk.tool.recheck(replace(CALL, state=CallState.UNKNOWN), desk.attempts) is None
        assert json.loads(desk.tool.success(CALL).reveal())["success"] is True


# ------------------------------------------------------------------------------------------- the decision


PLANNING = Forward(Guard(POLICY, SystemClock()), ForwardSettings("http://127.0.0.1/", SECRET))


def plan(
    arguments: Mapping[str, object] | str, conversation: Conversation | None = KNOWN
) -> Intent | Rejection:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return PLANNING.plan(Personal(text), conversation)


def body(arguments: Mapping[str, object] | str, conversation: Conversation = KNOWN) -> str:
    found = plan(arguments, conversation)
    assert isinstance(found, Intent)
    return found.body.reveal()


def equal_on(arguments: Mapping[str, object] | str, conversation: Conversation = KNOWN) -> tuple[str, ...]:
    found = plan(arguments, conversation)
    assert isinstance(found, Intent)
    return found.equal_on


def code(found: Intent | Rejection) -> str | None:
    return found.code if isinstance(found, Rejection) else None


@pytest.mark.parametrize(
    "text", ["", "{}", '{"a": 12345678901234567890, "b": 1.5, "c": [null, true], "d": "ç"}']
)
def test_any_object_goes_to_the_bot_with_its_values_as_they_are(text: str) -> None:
    assert body(text) == (text or "{}")


def test_numbers_keep_their_kind() -> None:
    assert body('{"a": 10, "b": 10.0, "c": -0}') == '{"a": 10, "b": 10.0, "c": 0}'


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "null",
        '"texto"',
        '{"a": NaN}',
        '{"a": -Infinity}',
        '{"a": 1e999}',
        '{"a": %s}' % ("1" * 5_000),
        '{"a": "\\ud800"}',
        '{"\\udfff": 1}',
        '{"a": "x\\u0000"}',
        '{"a": "\\\\\\u0000"}',
        '{"a": ' * DEEP,
        '{"a": ' * DEEP + "1" + "}" * DEEP,
    ],
    ids=lambda text: text[:24],
)
def test_what_no_bot_could_read_is_the_models_to_correct(text: str) -> None:
    assert code(plan(text)) == code(plan(text, None)) == "argumentos_invalidos"


def test_a_text_about_nul_is_only_a_text() -> None:
    assert json.loads(body({"a": "\\u0000", "b": "\\\\u0000"})) == {"a": "\\u0000", "b": "\\\\u0000"}


def test_a_call_of_a_conversation_we_do_not_know_is_not_forwarded() -> None:
    assert code(plan({}, None)) == "conversa_desconhecida"


def test_a_rejection_says_what_to_do() -> None:
    found = plan("[]")
    assert isinstance(found, Rejection)
    answer = json.loads(found.answer.reveal())
    assert answer["mensagem"] == "Argumentos inválidos: envie um objeto JSON."


def test_equal_arguments_are_equal_however_they_are_spelt() -> None:
    first = equal_on('{"a": "Ação", "b": {"y": 1, "x": [1, 2]}}')
    assert equal_on('{ "b": {"x": [1, 2], "y": 1},\n "a": "ACAO" }') == first
    assert equal_on('{"a": "Ação", "b": {"y": 1, "x": [2, 1]}}') != first
    assert equal_on('{"a": "Ação", "b": {"y": 1.5, "x": [1, 2]}}') != first


def test_the_same_arguments_for_another_document_are_another_call() -> None:
    without = Conversation("conversa-1")
    assert equal_on({}, without) == equal_on("", without)
    assert (
        len({equal_on({}), equal_on({}, without), equal_on({}, replace(KNOWN, document=Personal("1")))}) == 3
    )


async def test_whatever_depth_was_accepted_is_sent() -> None:
    def nested(depth: int) -> str:
        return '{"a":' * depth + "1" + "}" * depth

    def accepted(depth: int) -> bool:
        return code(plan(nested(depth))) is None

    low, high = 1, DEEP
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if accepted(middle) else (low, middle)
    async with asking() as desk:
        assert (await desk.perform(replace(CALL, body=Personal(body(nested(low)))))).state is CallState.DONE


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(arguments=st.text() | st.dictionaries(st.text(), JSON))
@settings(deadline=None)
def test_whatever_the_model_writes_is_judged_and_never_raises(arguments: str | dict[str, object]) -> None:
    found = plan(arguments)
    if isinstance(found, Rejection):
        assert found.code == "argumentos_invalidos"
    elif isinstance(arguments, dict):
        assert json.loads(found.body.reveal().encode()) == arguments


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with asking() as made:
        yield made


@given(
    answer=st.binary()
    | JSON.map(json.dumps).map(str.encode)
    | JSON.map(lambda x: json.dumps({"output": x}).encode())
)
# One bot and one client serve all examples: each is told what to answer, and keeps nothing.
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_the_bot_answers_never_raises(desk: Desk, answer: bytes) -> None:
    desk.bot.default = reply(body=answer)
    desk.attempts = FakeAttempts()
    outcome = await desk.perform()
    if outcome.output is None:
        assert outcome == FAILED
    else:
        assert outcome.state is CallState.DONE
        outcome.output.reveal().encode()  # as the platform's client will
