"""The API's description says what the API does."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.asgi import api_over, calling
from worker.model import RunState
from worker.store.store import Store
from worker.web.events import EVENTS
from worker.web.problems import PROBLEMS

CALLS = {
    "put /v1/conversations/{conversation_id}": {"200", "201"},
    "get /v1/conversations/{conversation_id}": {"200"},
    "delete /v1/conversations/{conversation_id}": {"200"},
    "post /v1/runs": {"200", "202"},
    "get /v1/runs/{run_id}": {"200"},
    "get /v1/calls": {"200"},
    "get /v1/calls/{call_id}": {"200"},
    "post /v1/calls/{call_id}/retry": {"202"},
    "post /v1/calls/{call_id}/resolve": {"200"},
    "post /v1/webhooks/openai": {"204"},
    "get /v1/handoffs": {"200"},
    "get /v1/handoffs/{handoff_id}": {"200"},
    "post /v1/replies": {"200"},
    "post /v1/handoffs/{handoff_id}/accept": {"200"},
    "post /v1/handoffs/{handoff_id}/return": {"200"},
    "post /v1/handoffs/{handoff_id}/close": {"200"},
    "get /v1/runs": {"200"},
    "post /v1/runs/{run_id}/dismiss": {"200"},
    "delete /v1/runs/{run_id}/dismiss": {"200"},
    "get /v1/calls.csv": {"200"},
    "get /v1/calls/{call_id}/payload": {"200"},
    "post /v1/calls/retry": {"202"},
    "post /v1/calls/{call_id}/dismiss": {"200"},
    "delete /v1/calls/{call_id}/dismiss": {"200"},
    "get /v1/events": {"200"},
    "post /v1/events/retry": {"202"},
    "post /v1/events/{event_id}/retry": {"202"},
    "post /v1/events/{event_id}/discard": {"200"},
    "get /v1/kpis": {"200"},
    "get /metrics": {"200"},
    "get /livez": {"200"},
    "get /readyz": {"200"},
}


@pytest.fixture
async def description(sqlite_store: Store) -> dict[str, Any]:
    async with calling(api_over(sqlite_store, token="s"), auth=("", "s")) as api:
        found: dict[str, Any] = (await api.get("/openapi.json")).json()
        assert (await api.get("/openapi.json")).json() == found
    return found


def operations(description: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method} {path}": operation
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    }


def test_every_call_is_described_with_its_successes(description: dict[str, Any]) -> None:
    found = {
        name: {status for status in operation["responses"] if status < "300"}
        for name, operation in operations(description).items()
    }
    assert found == CALLS


def test_every_refusal_is_a_problem_with_an_example_of_each_code(description: dict[str, Any]) -> None:
    described = set()
    for operation in operations(description).values():
        for status, response in operation["responses"].items():
            if status < "300":
                continue
            content = response["content"].pop("application/problem+json")
            assert response["content"] == {}
            assert content["schema"] == {"$ref": "#/components/schemas/Problem"}
            for code, example in content["examples"].items():
                assert example["value"]["code"] == code
                assert str(example["value"]["status"]) == status
                described.add(code)
    assert set(PROBLEMS) - described == {"metodo_nao_permitido"}


def test_the_one_code_that_no_call_can_give_is_described_at_the_front(description: dict[str, Any]) -> None:
    assert "405 `metodo_nao_permitido`" in description["info"]["description"]
    assert set(PROBLEMS) == set(description["components"]["schemas"]["Problem"]["properties"]["code"]["enum"])


def test_every_call_says_what_it_is_for_and_every_parameter_has_an_example(
    description: dict[str, Any],
) -> None:
    tags = {tag["name"] for tag in description["tags"] if tag["description"]}
    for name, operation in operations(description).items():
        assert operation["summary"], name
        assert operation["description"], name
        assert set(operation["tags"]) <= tags, name
        for parameter in operation.get("parameters", ()):
            where = f"{name} {parameter['name']}"
            assert parameter.get("example") or parameter.get("examples") or parameter["schema"]["examples"], (
                where
            )
            assert parameter["in"] == "header" or parameter["description"], where


def test_a_call_is_named_by_what_it_does(description: dict[str, Any]) -> None:
    names = [operation["operationId"] for operation in operations(description).values()]
    assert len(set(names)) == len(names)
    assert {"put_conversation", "post_run", "accept_handoff"} <= set(names)


def test_every_reference_leads_somewhere(description: dict[str, Any]) -> None:
    def references(part: Any) -> set[str]:
        if isinstance(part, dict):
            own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
            return own.union(*(references(value) for value in part.values()))
        return set().union(*(references(value) for value in part)) if isinstance(part, list) else set()

    schemas = description["components"]["schemas"]
    assert references(description) <= {f"#/components/schemas/{name}" for name in schemas}
    assert "HTTPValidationError" not in schemas


def test_what_may_be_sent_is_described_as_it_is_judged(description: dict[str, Any]) -> None:
    change = description["components"]["schemas"]["ConversationChange"]
    assert change["additionalProperties"] is False
    assert set(change["properties"]) == {
        "thread_id",
        "assistant",
        "client_document",
        "contact",
        "attachment_url",
        "attachment_at",
    }
    assert {"type": "string", "maxLength": 64} in change["properties"]["contact"]["anyOf"]
    assert change["examples"]


def test_the_token_is_asked_of_all_but_the_probes_and_who_signs(description: dict[str, Any]) -> None:
    assert description["security"] == [{"bearer": []}, {"basic": []}]
    free = {name for name, operation in operations(description).items() if operation.get("security") == []}
    assert free == {"get /livez", "get /readyz", "get /metrics", "post /v1/webhooks/openai"}


def test_a_webhook_is_described_with_its_signature_and_an_example_of_each_platform(
    description: dict[str, Any],
) -> None:
    webhook = operations(description)["post /v1/webhooks/openai"]
    headers = [(each["name"], each["in"]) for each in webhook["parameters"]]
    assert headers == [
        ("webhook-id", "header"),
        ("webhook-timestamp", "header"),
        ("webhook-signature", "header"),
    ]
    assert set(webhook["requestBody"]["content"]["application/json"]["examples"]) == {"agents", "responses"}


def test_a_resolution_is_described_as_it_is_judged(description: dict[str, Any]) -> None:
    resolution = description["components"]["schemas"]["Resolution"]
    assert resolution["additionalProperties"] is False
    assert resolution["required"] == ["protocolo"]
    assert resolution["examples"] == [{"protocolo": "2510271534789012"}]


async def test_without_a_token_none_is_described(sqlite_store: Store) -> None:
    async with calling(api_over(sqlite_store)) as api:
        assert "security" not in (await api.get("/openapi.json")).json()


# ----------------------------------------------------------------------------------------- events to the bot


def test_every_event_that_the_store_writes_is_described_as_a_webhook(description: dict[str, Any]) -> None:
    store = Path(__file__).parents[2] / "worker" / "store"
    code = "\n".join(path.read_text(encoding="utf-8") for path in store.glob("**/*.py"))
    written = set(re.findall(r"\"((?:ticket|handoff|reply)\.[a-z_]+)\"", code))
    ends = {f"run.{state}" for state in RunState if state is not RunState.WATCHING}
    assert set(description["webhooks"]) == written | ends


def test_the_forms_of_events_are_described_in_one_order_at_every_start(description: dict[str, Any]) -> None:
    names = list(dict.fromkeys(model.__name__ for model, _ in EVENTS.values()))
    assert [name for name in description["components"]["schemas"] if name in names] == names


def test_an_event_is_described_with_its_signature_and_its_data(description: dict[str, Any]) -> None:
    for kind, webhook in description["webhooks"].items():
        operation = webhook["post"]
        body = operation["requestBody"]["content"]["application/json"]["schema"]
        assert body["properties"]["type"] == {"const": kind}
        assert body["properties"]["data"]["$ref"].startswith("#/components/schemas/")
        assert [each["name"] for each in operation["parameters"]] == [
            "webhook-id",
            "webhook-timestamp",
            "webhook-signature",
        ]
        assert operation["summary"]
