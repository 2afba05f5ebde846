"""What no sink may show, and the search for it: whole or in part, however it is written."""

import re
import unicodedata
from base64 import b64encode
from collections.abc import Iterable
from urllib.parse import unquote_plus

DOCUMENT, MASKED = "91427358664", "914.273.586-64"
CNPJ = "7XKPQ4R80TWZ98"
NAME = "Zulmira Quaresma Bragança"
PHONE = "5524997135826"
EMAIL = "zulmira.braganca@caixapostal.example"
URL = "https://recibos.example/zq/comprovante-8841.jpg?token=q7w8e9r0"
PERSONAL = (
    f"Cliente {NAME}, CPF {MASKED}, empresa {CNPJ}, tel. +55 (24) 99713-5826, {EMAIL}, pagou R$ 7.391,84 "
    f"por separação judicial: {URL}"
)
ID_PHONE, ID_MAIL, TOOL_NUMBER = "5521988776655", "fulano@outracaixa.example", "84173920561"
"""In identifiers: the database keeps these as they are; a log does not show them."""

SECRETS = {
    "API_TOKEN": "ficha-de-acesso-3vJq",
    "OPENAI_API_KEY": "sk-chave-da-plataforma-9xTz",
    "CRM_AUTH_HEADER": "X-Api-Key: senha-do-crm-5kLw",
    "BOT_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}

_WORDS = (
    *("zulmira", "quaresma", "braganca", "caixapostal", "outracaixa", "separacao judicial"),
    *("recibos.example", "comprovante-8841", "q7w8e9r0", "7391,84", "739184", "7.391"),
    *("ficha-de-acesso", "sk-chave", "senha-do-crm", "mfkq9r8gkyqrtwjupd8ilpzio2lalasw"),
    b64encode(f"operador:{SECRETS['API_TOKEN']}".encode()).decode().casefold(),
)
_NUMBERS = (DOCUMENT, CNPJ.casefold(), PHONE, ID_PHONE, TOOL_NUMBER)
_PART = 6
"""So many characters in a row of a number are a recognisable part of it; fewer meet by chance."""

_TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?")
_OWN = re.compile(
    r"(?<=127\.0\.0\.1:)\d+"  # ports
    r"|\b(?:[a-z]+[_-])?(?=[0-9]*[a-f])[0-9a-f]{10,}\b"  # random ids and keyed hashes
)
_GROUPED = re.compile(r"(?<=[0-9a-z])[ ./()-]+(?=[0-9a-z])")


def leaks(text: str, words: Iterable[str] = _WORDS, numbers: Iterable[str] = _NUMBERS) -> set[str]:
    """Every marked value that a text shows; words are given as `folded`, numbers bare and lower case."""
    found: set[str] = set()
    lines = "\n".join({_TIME.sub("", line) for line in text.splitlines()})
    for form in {lines, unquote_plus(lines), _unescaped(lines)}:
        plain = _OWN.sub("", folded(form))
        found.update(word for word in words if word in plain)
        grouped = _GROUPED.sub("", plain)
        found.update(number for number in numbers if any(part in grouped for part in _parts(number)))
    return found


def leaks_in_bytes(data: bytes) -> set[str]:
    """Every value that a database file shows whole; random bytes hold parts by chance."""
    payload = (
        *NAME.split(),
        NAME,
        MASKED,
        DOCUMENT,
        CNPJ,
        PHONE,
        EMAIL,
        "99713-5826",
        "recibos.example",
        URL,
    )
    forms = {value: (value.encode(), value.encode("utf-16-le"), value.lower().encode()) for value in payload}
    return {value for value, spellings in forms.items() if any(each in data for each in spellings)}


def _parts(number: str) -> Iterable[str]:
    return (number[at : at + _PART] for at in range(len(number) - _PART + 1))


def _unescaped(text: str) -> str:
    return re.sub(r"\\u([0-9a-fA-F]{4})", lambda code: chr(int(code[1], 16)), text)


def folded(text: str) -> str:
    """Without case and accents."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(char for char in decomposed if not unicodedata.combining(char)).casefold()
