"""Tools that the bot owns: answered in the same run, through the same ledger and guard (contract §5)."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime

from standardwebhooks import Webhook

from worker.catalog import fold
from worker.errors import InternalError, InvalidArguments, ToolError, ToolFailed, UnknownConversation
from worker.guard import Delivered, Guard
from worker.model import CallRecord, CallState, Conversation, Intent, Outcome, Rejection
from worker.personal import Personal
from worker.ports import Attempts
from worker.tools.arguments import UNRECORDABLE, parse


@dataclass(frozen=True, slots=True)
class ForwardSettings:
    """`TOOL_FORWARD_URL` and the secret that signs what goes there."""

    url: str = field(repr=False)
    secret: str = field(repr=False)


class Forward:
    """Implements `ports.Tool` for every name that is no tool of the worker's own.

    The bot honours the `Idempotency-Key`, so what may have been sent is sent again.
    """

    name = "*"

    def __init__(self, guard: Guard, settings: ForwardSettings) -> None:
        self._guard = guard
        self._settings = settings
        self._signer = Webhook(settings.secret)

    def plan(self, arguments: Personal, conversation: Conversation | None) -> Intent | Rejection:
        """Any JSON object goes to the bot, of a conversation we know."""
        try:
            given = parse(arguments)
            if conversation is None:
                raise UnknownConversation
        except ToolError as error:
            return Rejection.of(error)
        body = json.dumps(given, ensure_ascii=False, sort_keys=True)
        if UNRECORDABLE.search(body):
            return Rejection.of(InvalidArguments("há caracteres que não podem ser registrados"))
        return Intent(equal_on=(fold(body),), body=Personal(body))

    async def perform(self, call: CallRecord, attempts: Attempts) -> Outcome:
        """Ask the bot; its output goes to the model unread."""
        if call.body is None or call.idempotency_key is None:
            raise InternalError
        delivery = await self._guard.post(self._settings.url, _body(call), self._headers(call), attempts)
        output = _output(delivery.body) if isinstance(delivery, Delivered) else None
        if output is None:
            return Outcome(CallState.FAILED, ToolFailed.code, certain=False)
        return Outcome(CallState.DONE, certain=False, output=output)

    async def recheck(self, call: CallRecord, attempts: Attempts) -> Outcome | None:
        """A forwarded call is never in doubt: it may be sent again."""
        return None

    def success(self, call: CallRecord) -> Personal:
        """What an equal call is told when the output itself came too late to be kept."""
        return Personal.json({"success": True, "mensagem": "A função foi executada."})

    def _headers(self, call: CallRecord) -> dict[str, str]:
        now = datetime.now(UTC)
        key = call.idempotency_key or ""
        return {
            "Content-Type": "application/json; charset=utf-8",
            "Idempotency-Key": key,
            "webhook-id": key,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(key, now, _body(call).decode()),
        }


def _body(call: CallRecord) -> bytes:
    """The same bytes on every attempt: the signature's time is in the headers, the event's is the call's."""
    arguments = json.loads(call.body.reveal()) if call.body else {}
    data = {
        "call_id": call.call_id,
        "run_id": call.run_id,
        "conversation_id": call.conversation_id,
        "tool": call.tool,
        "arguments": arguments,
    }
    received = datetime.fromtimestamp(call.received_at, UTC).isoformat()
    said = {"type": "tool.call", "timestamp": received, "data": data}
    return json.dumps(said, ensure_ascii=False).encode()


def _output(answer: bytes) -> Personal | None:
    """What the bot wants the model to be told: a text as it is, an object as JSON."""
    try:
        found = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    match found:
        case {"output": str(text)}:
            return Personal(text)
        case {"output": dict(said)}:
            return Personal.json(said)
    return None
