"""What a reply claims, and which of its claims the ledger does not bear out (contract §10)."""

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace
from enum import StrEnum


class Code(StrEnum):
    """What is wrong with a reply (contract §10)."""

    UNKNOWN_PROTOCOLO = "protocolo_desconhecido"
    FOREIGN_PROTOCOLO = "protocolo_de_outra_conversa"
    NO_TICKET = "ticket_nao_aberto"
    NO_HANDOFF = "transferencia_nao_pedida"
    PRINTED_CALL = "funcao_em_texto"


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim without basis: `text[start:end]`, in Unicode code points, is its number or its sentence."""

    code: Code
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What the ledger holds of the conversation when its reply is checked."""

    #: Protocolos of the conversation's own tickets, whenever opened, and numbers the bot vouches for.
    protocolos: Set[str] = frozenset()
    #: Numbers of the reply that are protocolos of other conversations' tickets.
    foreign: Set[str] = frozenset()
    #: A ticket of the conversation was opened within the last 24 hours.
    ticket_opened: bool = False
    #: A hand-off of the conversation was requested within the last 24 hours.
    handoff_requested: bool = False

    def vouching_for(self, numbers: Iterable[str]) -> "Facts":
        """The same, with numbers that the bot knows from elsewhere."""
        return replace(self, protocolos=self.protocolos | frozenset(numbers))


@dataclass(frozen=True, slots=True)
class Span:
    """Where in the reply something stands (code points, end exclusive)."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class NumberClaim:
    """A number that the reply gives as the customer's protocolo."""

    span: Span
    #: Its sentence: a sentence gets one finding of a code.
    sentence: int
    #: Letters and digits only, lower case.
    bare: str
    #: "Final 5307": only the last digits are given.
    is_ending: bool
    #: The reply itself says that it is a protocolo; otherwise it counts only if another conversation has it.
    is_named: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reply claims, whatever the ledger holds."""

    numbers: tuple[NumberClaim, ...]
    tickets: tuple[Span, ...]
    transfers: tuple[Span, ...]
    printed_calls: tuple[Span, ...]

    @property
    def candidates(self) -> frozenset[str]:
        """The numbers to look up in the ledger, without separators."""
        return frozenset(claim.bare for claim in self.numbers)

    def findings(self, facts: Facts) -> list[Finding]:
        """The claims that the ledger does not bear out, in the order of the text."""
        found = [*self._unknown_numbers(facts)]
        found += [Finding(Code.PRINTED_CALL, span.start, span.end) for span in self.printed_calls]
        if not facts.ticket_opened:
            found += [Finding(Code.NO_TICKET, span.start, span.end) for span in self.tickets]
        if not facts.handoff_requested:
            found += [Finding(Code.NO_HANDOFF, span.start, span.end) for span in self.transfers]
        return sorted(found, key=lambda finding: (finding.start, finding.end, finding.code))

    def _unknown_numbers(self, facts: Facts) -> Iterator[Finding]:
        own = {bare(number) for number in facts.protocolos}
        foreign = {bare(number) for number in facts.foreign}
        reported: set[tuple[int, Code]] = set()
        for claim in self.numbers:
            if claim.bare in own or (claim.is_ending and any(number.endswith(claim.bare) for number in own)):
                continue
            if not claim.is_named and claim.bare not in foreign:
                continue
            code = Code.FOREIGN_PROTOCOLO if claim.bare in foreign else Code.UNKNOWN_PROTOCOLO
            if (claim.sentence, code) not in reported:
                reported.add((claim.sentence, code))
                yield Finding(code, claim.span.start, claim.span.end)


def bare(number: str) -> str:
    """A protocolo without separators and case: two spellings of one number are equal."""
    return "".join(char for char in number if char.isalnum()).casefold()
