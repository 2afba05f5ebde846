"""Every link of the documents resolves; every file and test that they name exists."""

import re

import pytest

from tests.docs.pages import PAGES, READMES, ROOT, anchors, read


@pytest.mark.parametrize("page", PAGES)
def test_every_relative_link_and_anchor_resolves(page: str) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]*)(?:#([^)]*))?\)", read(page))
    for path, anchor in links:
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), f"{path}#{anchor}"


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_every_test_that_a_document_names_exists(page: str) -> None:
    text = read(page)
    files = re.findall(r"`((?:worker|tests|bench|schemas)/[\w/.-]+)`", text)
    assert [name for name in files if not (ROOT / name).exists()] == []
    tests = "".join(path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*.py"))
    named = re.findall(r"`(test_\w+)`", text)
    assert [name for name in named if f"def {name}(" not in tests] == []


def test_the_index_leads_to_every_document() -> None:
    listed = {f"docs/{path}" for path in re.findall(r"\]\(([\w.-]+\.md)\)", read("docs/index.md"))}
    assert {page for page in PAGES if page.startswith("docs/")} - {"docs/index.md"} == listed


def test_the_readmes_lead_to_each_other_and_to_how_to_contribute() -> None:
    assert "(README.pt-BR.md)" in read("README.md")
    assert "(README.md)" in read("README.pt-BR.md")
    for readme in READMES:
        assert "(CONTRIBUTING.md)" in read(readme)


@pytest.mark.parametrize("readme", READMES)
def test_a_readme_is_read_in_one_sitting(readme: str) -> None:
    assert len(read(readme).split()) <= 1_200
