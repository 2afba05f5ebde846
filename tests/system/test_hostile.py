"""Hostile inputs get what docs/hostile-inputs.md says: the table is read by people, and kept true by this."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography.fernet import Fernet

from tests.system.hostile import SECTIONS, Ground, ground
from worker.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "hostile-inputs.md"
CASES = [(section, name) for section, cases in SECTIONS.items() for name in cases]

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.untraced]
_got: dict[tuple[str, str], str] = {}


def rows() -> dict[tuple[str, str], str]:
    """What the page says, by section and input."""
    found, section = {}, ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("| ") and not line.startswith(("| entrada", "|---")):
            name, got = line.strip("| ").split(" | ")
            found[section, name] = got
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def open_ground(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Ground]:
    folder = tmp_path_factory.mktemp("hostile")
    settings = Settings.model_validate(
        {
            "PLATFORM": "assistants",
            "OPENAI_API_KEY": "test",
            "DATA_KEYS": Fernet.generate_key().decode(),
            "DATABASE_URL": f"sqlite:///{folder}/worker.db",
        }
    )
    async with ground(folder, settings) as opened:
        yield opened


@pytest.mark.parametrize(("section", "name"), CASES, ids=[name for _, name in CASES])
async def test_a_hostile_input_gets_what_the_page_says(open_ground: Ground, section: str, name: str) -> None:
    got = _got[section, name] = await SECTIONS[section][name](open_ground)
    if not os.environ.get("HOSTILE_WRITE"):
        assert got == rows()[section, name]


async def test_the_page_has_these_inputs_and_no_others() -> None:
    if os.environ.get("HOSTILE_WRITE"):
        write()
    assert list(rows()) == CASES


def write() -> None:
    """`HOSTILE_WRITE=1`: the page anew, from what was got; read the difference before you believe it."""
    before = PAGE.read_text(encoding="utf-8").partition("\n## ")[0].rstrip()
    lines = [before]
    for section, cases in SECTIONS.items():
        lines += ["", f"## {section}", "", "| entrada | o que recebe |", "|---|---|"]
        lines += [f"| {name} | {_got[section, name]} |" for name in cases]
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
