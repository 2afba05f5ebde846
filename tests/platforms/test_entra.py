"""Entra tokens in the place of a key (Foundry): asked for at each request, given back at the end."""

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest

from tests.raw_server import listening
from worker.errors import ConfigError
from worker.model import RunRef
from worker.platforms import connect
from worker.settings import Settings

RUN = {"id": "run_1", "thread_id": "thread_1", "status": "in_progress"}


class Credential:
    """Azure's default credential, as far as we use it: each token is a new one."""

    made: "Credential"

    def __init__(self) -> None:
        self.scopes: list[str] = []
        self.closed = False
        Credential.made = self

    async def get_token(self, scope: str) -> SimpleNamespace:
        self.scopes.append(scope)
        return SimpleNamespace(token=f"token-{len(self.scopes)}")

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("azure.identity.aio")
    module.DefaultAzureCredential = Credential  # type: ignore[attr-defined]  # a module made by hand
    monkeypatch.setitem(sys.modules, "azure.identity.aio", module)


@pytest.mark.usefixtures("azure")
async def test_every_request_carries_a_token_of_the_foundry_scope(
    make_settings: Callable[..., Settings],
) -> None:
    async with listening() as wire:
        wire.says(RUN)
        settings = make_settings(
            OPENAI_AUTH="entra", OPENAI_BASE_URL=wire.url, OPENAI_API_VERSION="v1", OPENAI_API_KEY=None
        )
        platform = connect(settings)
        for _ in range(2):
            await platform.inspect(RunRef("run_1", "thread_1"))
        await platform.aclose()
    assert [asked.headers["authorization"] for asked in wire.requests] == ["Bearer token-1", "Bearer token-2"]
    assert [asked.query["api-version"] for asked in wire.requests] == ["v1", "v1"]
    assert set(Credential.made.scopes) == {"https://ai.azure.com/.default"}
    assert Credential.made.closed


def test_without_the_extra_it_says_what_to_install(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "azure.identity.aio", None)
    with pytest.raises(ConfigError, match=r"ticket-worker\[azure\]"):
        connect(make_settings(OPENAI_AUTH="entra"))
