"""CONTRIBUTING's tables: six of them, and every file that they send a contributor to exists."""

import re

import pytest

from tests.docs.pages import ROOT, read

SUBJECTS = ("a tool", "a platform", "a field of a conversation", "a KPI", "a setting", "a column")


def rows(subject: str) -> list[str]:
    """The first cells of the table "To add …"."""
    _, _, section = read("CONTRIBUTING.md").partition(f"\n## To add {subject}\n")
    cells = re.findall(r"^\| (.+?) \| ", section.partition("\n## ")[0], re.MULTILINE)
    return cells[1:]


@pytest.mark.parametrize("subject", SUBJECTS)
def test_every_file_that_a_table_names_exists(subject: str) -> None:
    named = [re.findall(r"`([^`]+)`", cell) for cell in rows(subject)]
    assert named
    assert all(named)
    assert [path for paths in named for path in paths if not (ROOT / path).exists()] == []


def test_there_is_one_table_for_each_subject_and_no_other() -> None:
    headings = re.findall(r"^## To add (.+)$", read("CONTRIBUTING.md"), re.MULTILINE)
    assert tuple(headings) == SUBJECTS


def test_a_tool_is_a_file_a_schema_and_a_line_and_a_platform_a_file_and_a_line() -> None:
    assert len(rows("a tool")) == 3
    assert len(rows("a platform")) == 2
