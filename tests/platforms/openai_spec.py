"""OpenAI's own description of the Assistants protocol as a judge of requests and answers.

It is never part of the repository: tests that need it run where `OPENAI_SPEC_DIR` points at a folder with
`assistants-requests.json` (right for requests) and `assistants-responses.json` (right for answers).
"""

import json
import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import pytest
from jsonschema import Draft202012Validator

Json = Any

_FOUNDRY_QUERY = {"api-version"}


class Sent(Protocol):
    """A recorded request: `worker.simulator.faults.Recorded` is one."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


def request_description() -> "Description":
    """What requests are judged by; skips the test without `OPENAI_SPEC_DIR`."""
    return _load(_folder() / "assistants-requests.json")


def response_description() -> "Description":
    """What answers are judged by; skips the test without `OPENAI_SPEC_DIR`."""
    return _load(_folder() / "assistants-responses.json")


def request_problems(requests: Iterable[Sent]) -> list[str]:
    """Everything the description forbids about these requests; skips the test without `OPENAI_SPEC_DIR`."""
    description = request_description()
    return [problem for request in requests for problem in description.of_request(request)]


def _folder() -> Path:
    folder = os.environ.get("OPENAI_SPEC_DIR")
    if not folder:
        pytest.skip("OPENAI_SPEC_DIR is not set: OpenAI's description is not here to judge by")
    return Path(folder)


@cache
def _load(path: Path) -> "Description":
    return Description(json.loads(path.read_text(encoding="utf-8")))


class Description:
    """One OpenAPI document, 3.0 or 3.1."""

    def __init__(self, document: Json) -> None:
        document = _with_nulls(document)
        self._components = document["components"]
        literal_first = sorted(document["paths"].items(), key=lambda item: item[0].count("{"))
        self._paths = [(_pattern(path), operations) for path, operations in literal_first]

    def of_request(self, request: Sent) -> list[str]:
        """What is wrong with a request: path, method, query, body."""
        where = f"{request.method} {request.path}"
        operation = self._operation(request.method, request.path)
        if operation is None:
            return [f"{where}: not described"]
        problems = [*self._query(operation, request.query), *self._body(operation, request.body)]
        return [f"{where}: {problem}" for problem in problems]

    def of_response(self, method: str, path: str, status: int, body: Json) -> list[str]:
        """What is wrong with an answer."""
        operation = self._operation(method, path)
        if operation is None:
            return [f"{method} {path}: not described"]
        response = operation["responses"].get(str(status))
        if response is None:
            return [f"{method} {path}: {status} is not described"]
        schema = response["content"]["application/json"]["schema"]
        return [f"{method} {path}: {problem}" for problem in self._problems(schema, body)]

    def _operation(self, method: str, path: str) -> Json | None:
        name = method.lower()
        found = (
            operations[name]
            for pattern, operations in self._paths
            if name in operations and pattern.fullmatch(path)
        )
        return next(found, None)

    def _query(self, operation: Json, query: Mapping[str, str]) -> Iterable[str]:
        known = {item["name"]: item for item in operation.get("parameters", ()) if item["in"] == "query"}
        for name, value in query.items():
            if name in known:
                yield from (
                    f"query {name}: {p}" for p in self._problems(known[name]["schema"], _typed(value))
                )
            elif name not in _FOUNDRY_QUERY:
                yield f"query {name}: not described"

    def _body(self, operation: Json, body: bytes) -> Iterable[str]:
        described = operation.get("requestBody")
        if not body:
            return ["body: missing"] if described and described.get("required") else []
        if described is None:
            return ["body: not described"]
        return self._problems(described["content"]["application/json"]["schema"], json.loads(body))

    def _problems(self, schema: Json, value: Json) -> list[str]:
        validator = Draft202012Validator({**schema, "components": self._components})
        return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(value)]


def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path)))


def _typed(value: str) -> str | int:
    return int(value) if value.isdecimal() else value


def _with_nulls(node: Json) -> Json:
    """OpenAPI 3.0's `nullable` in the words of JSON Schema, beside `$ref` and inside `allOf` too."""
    if isinstance(node, list):
        return [_with_nulls(item) for item in node]
    if not isinstance(node, dict):
        return node
    schema = {name: _with_nulls(value) for name, value in node.items()}
    own = schema.pop("nullable", False) is True
    parts = schema.get("allOf", [])
    if own or any(part.get("nullable") for part in node.get("allOf", [])):
        schema.update({"allOf": [part for part in parts if part != _NULL_ONLY]} if parts else {})
        return {"anyOf": [schema, {"type": "null"}]}
    return schema


_NULL_ONLY = _with_nulls({"nullable": True})
