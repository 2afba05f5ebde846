"""The documents as the tests of this folder read them: text, code blocks, anchors."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "README.pt-BR.md")
PAGES = [
    *READMES,
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *sorted(f"docs/{path.name}" for path in ROOT.glob("docs/*.md")),
]

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str, language: str | None = None) -> list[str]:
    """The code blocks of a page, without their fences; all of them, or those in one language."""
    return [code for name, code in _BLOCK.findall(read(page)) if language in {None, name}]


def block(page: str, language: str, holding: str) -> str:
    """The one code block of a page in this language that holds this text."""
    (code,) = (each for each in blocks(page, language) if holding in each)
    return code


def code_of(page: str) -> str:
    """Code blocks, and what stands between backticks."""
    inline = re.findall(r"`[^`\n]+`", _BLOCK.sub("", read(page)))
    return "\n".join([*blocks(page), *inline])


def anchors(markdown: str) -> set[str]:
    """The anchors that GitHub gives the headings."""
    headings = re.findall(r"^#+ (.+)$", _BLOCK.sub("", markdown), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
