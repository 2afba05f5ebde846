"""Customers as hypothesis draws them: personal values of every kind, and what of them must not be seen."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from tests.system.daemon import cpf
from tests.system.personal_values import folded


@dataclass(frozen=True)
class Customer:
    """One person; `document` as the bot sends it, `text` whatever else there is in what was said."""

    name: str
    document: str
    phone: str
    email: str
    amount: str
    url: str
    text: str

    @property
    def said(self) -> str:
        """Everything, as a model would write it into a resumo or a motivo."""
        return (
            f"Cliente {self.name}, documento {self.document}, tel. {self.phone}, {self.email}, "
            f"pagou R$ {self.amount}: {self.url} {self.text}"
        )

    @property
    def words(self) -> Sequence[str]:
        """What no sink may hold, folded: each is long or odd enough to be nobody else's."""
        said = (*self.name.split(), *re.findall(r"\w{8,}", self.text), self.email.partition("@")[0], self.url)
        return [folded(word) for word in (*said, self.amount, self.url.rpartition("/")[2])]

    @property
    def numbers(self) -> Sequence[str]:
        """What no sink may hold any six characters of."""
        return [re.sub(r"\W", "", number).casefold() for number in (self.document, self.phone)]

    @property
    def echo(self) -> bytes:
        """What a server might send back in an error."""
        return json.dumps({"erro": self.said, "message": self.said}, ensure_ascii=False).encode()


def cnpj(base: str) -> str:
    """A CNPJ, alphanumeric too, with right check digits: the official rule (character code less 48)."""
    for weights in ((5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2), (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)):
        total = sum((ord(char) - 48) * weight for char, weight in zip(base, weights, strict=True))
        base += str(0 if total % 11 < 2 else 11 - total % 11)
    return base


def _masked(document: str) -> str:
    if len(document) == 11:
        return f"{document[:3]}.{document[3:6]}.{document[6:9]}-{document[9:]}"
    return f"{document[:2]}.{document[2:5]}.{document[5:8]}/{document[8:12]}-{document[12:]}"


_WORD = st.text("bcdfghjkqvwxyzãçéõüñ", min_size=7, max_size=12)
_NAMES = st.lists(_WORD.map(str.capitalize), min_size=2, max_size=3).map(" ".join)
# No document of one digit again and again: it is nobody's, and the API refuses it.
_BARE = st.permutations("123456789").map(lambda digits: cpf(int("".join(digits)))) | st.permutations(
    "0123456789BCDFGHJKLMNPQRSTVWXZ"
).map(lambda characters: cnpj("".join(characters[:12])))
_DOCUMENTS = _BARE.flatmap(
    lambda bare: st.sampled_from([bare, _masked(bare), bare.lower(), f" {_masked(bare)} "])
)
_PHONES = st.tuples(st.integers(11, 99), st.integers(10**7 * 3, 10**8 - 1)).flatmap(
    lambda parts: st.sampled_from(
        [f"55{parts[0]}9{parts[1]}", f"+55 ({parts[0]}) 9{str(parts[1])[:4]}-{str(parts[1])[4:]}"]
    )
)
_AMOUNTS = st.integers(1_000_000, 99_999_999).map(
    lambda cents: f"{cents / 100:,.2f}".replace(",", " ").replace(".", ",").replace(" ", ".")
)
_URLS = st.tuples(_WORD, st.integers(10**9, 10**12)).map(
    lambda parts: f"https://{folded(parts[0])}.example/{parts[1]:x}zz?token=q{parts[1]}"
)
_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)

CUSTOMERS: st.SearchStrategy[Customer] = st.builds(
    Customer,
    name=_NAMES,
    document=_DOCUMENTS,
    phone=_PHONES,
    email=_WORD.map(lambda word: f"{folded(word)}@caixa.example"),
    amount=_AMOUNTS,
    url=_URLS,
    text=_TEXTS,
)


def jsonable(customer: Customer) -> dict[str, Any]:
    """What the bot registers of a customer."""
    return {"client_document": customer.document, "contact": customer.phone, "attachment_url": customer.url}
