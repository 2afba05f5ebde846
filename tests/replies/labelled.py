"""Labelled replies (`*.jsonl`), and precision and recall of the check over them.

`corpus.jsonl` and `examples.jsonl` may be read while rules are written. `held_out.jsonl` may not: it says
how the rules do on replies their author never saw, so it prints only counts and ids. By code:

    python -m tests.replies.labelled
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from worker.replies import Facts
from worker.replies.reading import read_reply

OWN, FOREIGN = "2510271534789012", "2511031102457788"
"""What `{P}` and `{Q}` stand for: a protocolo of the conversation, and one of another conversation."""

FILES = {name: Path(__file__).parent / f"{name}.jsonl" for name in ("examples", "corpus", "held_out")}


@dataclass(frozen=True)
class LabelledReply:
    """A reply, what the ledger holds when it is checked, and the codes it should get."""

    id: str
    text: str
    facts: Facts
    want: frozenset[str]

    @property
    def got(self) -> frozenset[str]:
        return frozenset(finding.code.value for finding in read_reply(self.text).findings(self.facts))


@dataclass
class Figures:
    """Findings by code: right, too many, and missing; and which replies came out wrong, and how."""

    right: Counter[str] = field(default_factory=Counter)
    extra: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    #: "a-027 missed ticket_nao_aberto": never a word of the reply.
    wrong: list[str] = field(default_factory=list)

    @property
    def precision(self) -> float:
        return self.right.total() / max(1, self.right.total() + self.extra.total())

    @property
    def recall(self) -> float:
        return self.right.total() / max(1, self.right.total() + self.missed.total())

    def lines(self) -> Iterator[str]:
        """A line for all codes, one for each, and one for each finding that is wrong."""
        yield f"{'all codes':28} precision {self.precision:.3f}  recall {self.recall:.3f}"
        for code in sorted(self.right.keys() | self.extra.keys() | self.missed.keys()):
            right, extra, missed = self.right[code], self.extra[code], self.missed[code]
            precision, recall = right / max(1, right + extra), right / max(1, right + missed)
            yield (
                f"{code:28} precision {precision:.3f}  recall {recall:.3f}"
                f"  ({right} right, {extra} too many, {missed} missed)"
            )
        yield from self.wrong or ["none wrong"]


def replies_of(name: str) -> list[LabelledReply]:
    """The labelled replies of one file."""
    return [_reply(json.loads(line)) for line in FILES[name].read_text("utf-8").splitlines()]


def _reply(row: dict[str, object]) -> LabelledReply:
    holds = str(row["context"]).split("+")
    facts = Facts(
        protocolos=frozenset({OWN} if "opened" in holds else ()),
        foreign=frozenset({FOREIGN} if "other" in holds else ()),
        ticket_opened="opened" in holds,
        handoff_requested="handoff" in holds,
    )
    text = str(row["text"]).replace("{P}", OWN).replace("{Q}", FOREIGN)
    want = row["want"]
    assert isinstance(want, list)
    return LabelledReply(str(row["id"]), text, facts, frozenset(want))


def measure(replies: list[LabelledReply]) -> Figures:
    """How the check does on these replies."""
    figures = Figures()
    for reply in replies:
        got = reply.got
        figures.right.update(got & reply.want)
        figures.extra.update(got - reply.want)
        figures.missed.update(reply.want - got)
        figures.wrong += [f"{reply.id} missed {code}" for code in sorted(reply.want - got)]
        figures.wrong += [f"{reply.id} too many: {code}" for code in sorted(got - reply.want)]
    return figures


if __name__ == "__main__":
    for name in FILES:
        replies = replies_of(name)
        print(f"\n{name} ({len(replies)} replies)")  # noqa: T201
        print("\n".join(measure(replies).lines()))  # noqa: T201
