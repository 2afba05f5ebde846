"""The operations of the simulated Responses API, on responses and on conversations."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from worker.simulator.assistants.bodies import read
from worker.simulator.assistants.runs import Timings, invalid_request
from worker.simulator.assistants.wire import page
from worker.simulator.clock import Clock
from worker.simulator.platform import OperationRow
from worker.simulator.responses import wire
from worker.simulator.responses.bodies import Change, NewConversation, NewItems, NewResponse, response_item
from worker.simulator.responses.generation import (
    Conversation,
    Item,
    ModelResponse,
    check_calls,
    invalid_parameter,
)
from worker.simulator.script import Script, script_for
from worker.simulator.webhooks import Webhooks

Json = dict[str, Any]


class ConversationOperations:
    """Conversations by id, and the operations on them."""

    def __init__(self, clock: Clock) -> None:
        self.by_id: dict[str, Conversation] = {}
        self._clock = clock

    def operations(self) -> tuple[OperationRow, ...]:
        """Name, method, path and handler."""
        path = "/conversations/{conversation_id}"
        item = f"{path}/items/{{item_id}}"
        return (
            ("create_conversation", "POST", "/conversations", self._create),
            ("retrieve_conversation", "GET", path, self._retrieve),
            ("update_conversation", "POST", path, self._update),
            ("delete_conversation", "DELETE", path, self._delete),
            ("create_items", "POST", f"{path}/items", self._create_items),
            ("list_items", "GET", f"{path}/items", self._list_items),
            ("retrieve_item", "GET", item, self._retrieve_item),
            ("delete_item", "DELETE", item, self._delete_item),
        )

    def get(self, conversation_id: str) -> Conversation:
        """The current state. Raises `ApiError` 404."""
        if conversation_id not in self.by_id:
            raise invalid_request(f"Conversation with id '{conversation_id}' not found.", 404)
        conversation = self.by_id[conversation_id]
        if conversation.latest_response:
            conversation.latest_response.advance(self._clock.now())
        return conversation

    def _from_path(self, request: Request) -> Conversation:
        return self.get(request.path_params["conversation_id"])

    def _item(self, request: Request) -> tuple[Conversation, Item]:
        conversation, item_id = self._from_path(request), request.path_params["item_id"]
        for item in conversation.items:
            if item["id"] == item_id:
                return conversation, item
        raise invalid_request(f"Item with id '{item_id}' not found.", 404)

    async def _create(self, request: Request) -> Response:
        body = read(NewConversation, await request.body())
        items = [response_item(item) for item in body.items or []]
        conversation = Conversation(self._clock.now(), body.metadata or {}, items)
        self.by_id[conversation.id] = conversation
        return JSONResponse(wire.conversation(conversation))

    async def _retrieve(self, request: Request) -> Response:
        return JSONResponse(wire.conversation(self._from_path(request)))

    async def _update(self, request: Request) -> Response:
        conversation = self._from_path(request)
        conversation.metadata = read(Change, await request.body()).metadata or {}
        return JSONResponse(wire.conversation(conversation))

    async def _delete(self, request: Request) -> Response:
        conversation = self._from_path(request)
        del self.by_id[conversation.id]
        return JSONResponse({"id": conversation.id, "object": "conversation.deleted", "deleted": True})

    async def _create_items(self, request: Request) -> Response:
        conversation = self._from_path(request)
        items = [response_item(item) for item in read(NewItems, await request.body()).items]
        conversation.check_unlocked(self._clock.now())
        conversation.items += items
        return JSONResponse(page(items, {"order": "asc"}, _unchanged))

    async def _list_items(self, request: Request) -> Response:
        return JSONResponse(page(self._from_path(request).items, request.query_params, _unchanged))

    async def _retrieve_item(self, request: Request) -> Response:
        return JSONResponse(self._item(request)[1])

    async def _delete_item(self, request: Request) -> Response:
        conversation, item = self._item(request)
        conversation.items.remove(item)
        return JSONResponse(wire.conversation(conversation))


class ResponseOperations:
    """Responses by id, and the operations on them. `script` and `timings` apply to later responses."""

    def __init__(
        self,
        conversations: ConversationOperations,
        clock: Clock,
        script: Script,
        timings: Timings,
        webhooks: Webhooks,
    ) -> None:
        self.by_id: dict[str, ModelResponse] = {}
        self.script = script
        self.timings = timings
        self._conversations = conversations
        self._clock = clock
        self._webhooks = webhooks

    def operations(self) -> tuple[OperationRow, ...]:
        """Name, method, path and handler."""
        path = "/responses/{response_id}"
        return (
            ("create_response", "POST", "/responses", self._create),
            ("retrieve_response", "GET", path, self._retrieve),
            ("delete_response", "DELETE", path, self._delete),
            ("cancel_response", "POST", f"{path}/cancel", self._cancel),
            ("list_input_items", "GET", f"{path}/input_items", self._list_input_items),
            ("list_models", "GET", "/models", self._list_models),
        )

    def advance(self) -> None:
        """Apply the due changes in every response, oldest first."""
        for item in list(self.by_id.values()):
            item.advance(self._clock.now())

    def get(self, response_id: str) -> ModelResponse:
        """The current state. Raises `ApiError` 404."""
        item = self.by_id.get(response_id)
        if item is None or not item.readable(self._clock.now()):
            raise invalid_request(f"Response with id '{response_id}' not found.", 404)
        item.advance(self._clock.now())
        return item

    def _from_path(self, request: Request) -> ModelResponse:
        return self.get(request.path_params["response_id"])

    def _previous_response(self, response_id: str) -> ModelResponse:
        item = self.by_id.get(response_id)
        if item is None or not item.store:
            message = f"Previous response with id '{response_id}' not found."
            raise invalid_parameter(message, "previous_response_id", "previous_response_not_found")
        item.advance(self._clock.now())
        return item

    async def _create(self, request: Request) -> Response:
        body = read(NewResponse, await request.body())
        body.check()
        conversation = self._conversations.get(body.conversation_id) if body.conversation_id else None
        context, items = self._context(conversation, body.previous_response_id), body.items()
        check_calls(context, items)
        item = ModelResponse(
            body.settings(),
            context,
            items,
            self.timings,
            script_for(body.model, self.script),
            self._clock.now(),
            self._send_webhook,
            conversation=conversation,
            previous_id=body.previous_response_id,
            background=body.background is True,
            store=body.store is not False,
        )
        self.by_id[item.id] = item
        return JSONResponse(wire.response(item))

    def _context(self, conversation: Conversation | None, previous_id: str | None) -> list[Item]:
        """The items before the new input."""
        if conversation:
            conversation.check_unlocked(self._clock.now())
            return list(conversation.items)
        return self._previous_response(previous_id).history if previous_id else []

    def _send_webhook(self, item: ModelResponse) -> None:
        if item.background:
            self._webhooks.send(f"response.{item.status}", {"id": item.id})

    async def _retrieve(self, request: Request) -> Response:
        return JSONResponse(wire.response(self._from_path(request)))

    async def _delete(self, request: Request) -> Response:
        item = self._from_path(request)
        del self.by_id[item.id]
        return JSONResponse({"id": item.id, "object": "response", "deleted": True})

    async def _cancel(self, request: Request) -> Response:
        item = self._from_path(request)
        item.cancel(self._clock.now())
        return JSONResponse(wire.response(item))

    async def _list_input_items(self, request: Request) -> Response:
        return JSONResponse(page(self._from_path(request).input, request.query_params, _unchanged))

    async def _list_models(self, _request: Request) -> Response:
        model = {"id": "gpt-6-astra", "object": "model", "created": 0, "owned_by": "simulador"}
        return JSONResponse({"object": "list", "data": [model]})


def _unchanged(item: Item) -> Json:
    return item
