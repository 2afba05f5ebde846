"""The check against replies labelled by people who did not know its rules (contract §10, Quality)."""

import pytest

from tests.replies.labelled import LabelledReply, measure, replies_of

PRECISION, RECALL = 0.97, 0.92


def test_replies_set_aside_reach_the_promised_precision_and_recall(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each miss is reported by its id, also when the figures are good enough."""
    figures = measure(replies_of("held_out"))
    with capsys.disabled():
        print("", *figures.lines(), sep="\n")  # noqa: T201
    assert figures.precision >= PRECISION, figures.wrong
    assert figures.recall >= RECALL, figures.wrong


@pytest.mark.parametrize("name", ["corpus", "examples"])
def test_every_reply_that_rules_were_written_with_comes_out_as_labelled(name: str) -> None:
    wrong = [reply for reply in replies_of(name) if reply.got != reply.want]
    assert not wrong, [(reply.id, sorted(reply.got), sorted(reply.want)) for reply in wrong]


def test_at_least_four_hundred_replies_are_labelled_and_a_third_of_them_is_set_aside() -> None:
    visible, aside = replies_of("corpus"), replies_of("held_out")
    assert len(visible) + len(aside) >= 400
    assert len(aside) >= (len(visible) + len(aside)) / 3


def test_a_check_that_finds_nothing_or_everything_would_fail_here() -> None:
    """The figures can tell a check that is no use: they are no constants."""
    replies = replies_of("corpus")
    silent = measure([LabelledReply(each.id, "Olá!", each.facts, each.want) for each in replies])
    assert silent.recall < RECALL
    lying = "Abri seu chamado, protocolo 99887766. Te transferi pro suporte. abrir_ticket_crm()"
    noisy = measure([LabelledReply(each.id, lying, each.facts, each.want) for each in replies])
    assert noisy.precision < PRECISION
