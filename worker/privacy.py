"""Protects personal values: documents, encryption, keyed hashes, and safe quotes of the model's text."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from validate_docbr import CNPJ, CPF

from worker.errors import ConfigError, StoreError, Unreadable
from worker.personal import Personal

# ---------------------------------------------------------------------------------------------- documents

_CPF_SHAPE = re.compile(r"[0-9]{3}\.?[0-9]{3}\.?[0-9]{3}-?[0-9]{2}")
_CNPJ_SHAPE = re.compile(r"[0-9A-Z]{2}\.?[0-9A-Z]{3}\.?[0-9A-Z]{3}/?[0-9A-Z]{4}-?[0-9]{2}")
_MASK = str.maketrans("", "", "./-")


def parse_document(text: str) -> Personal | None:
    """A CPF or CNPJ (alphanumeric too), masked or bare, as the CRM wants it: bare, upper case.

    None when the shape or a check digit is wrong (contract §3, `documento_invalido`). Space around it is
    forgiven; any other character is not, digits of other scripts included: nothing is guessed.
    """
    text = text.strip()
    if not text.isascii():
        return None
    text = text.upper()
    bare = text.translate(_MASK)
    # validate-docbr judges check digits only: it pads a short CPF and takes punctuation anywhere.
    valid = (_CPF_SHAPE.fullmatch(text) and CPF().validate(bare)) or (
        _CNPJ_SHAPE.fullmatch(text) and CNPJ().validate(bare)
    )
    return Personal(bare) if valid else None


def mask_document(document: Personal) -> str:
    """What the API shows of a document: six characters of its middle (`***.982.247-**`)."""
    bare = document.reveal()
    if len(bare) == 11:
        return f"***.{bare[3:6]}.{bare[6:9]}-**"
    if len(bare) == 14:
        return f"**.{bare[2:5]}.{bare[5:8]}/****-**"
    return "***"


def holds_personal(protocolo: str, values: Iterable[Personal]) -> bool:
    """Whether a protocolo equals a personal value, or contains one of at least ten characters.

    Punctuation does not count, nor do country code and ninth digit of a telephone number.
    """
    number = _bare(protocolo)
    return any(
        number == bare or (len(bare) >= _TELLING and bare in number)
        for value in values
        for bare in _spellings(value)
    )


_TELLING = 10
_PHONE = re.compile(r"(?:55)?([1-9][1-9])9?([2-9][0-9]{7})")
"""Area code and number without the ninth digit, which WhatsApp leaves out of older numbers."""


def _spellings(value: Personal) -> Iterator[str]:
    bare = _bare(value.reveal())
    if bare:
        yield bare
    if phone := _PHONE.fullmatch(bare):
        area, number = phone.groups()
        yield from (f"{area}{number}", f"{area}9{number}", number, f"9{number}")


def _bare(text: str) -> str:
    return "".join(filter(str.isalnum, text)).upper()


# --------------------------------------------------------------------------------------------- encryption


class Vault:
    """Encrypts payload under `DATA_KEYS`: the first key seals, every key opens."""

    __slots__ = ("_fernet", "_first")

    def __init__(self, keys: Sequence[str]) -> None:
        """Raises `ConfigError` when there is no key, or one that is not Fernet."""
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
            self._first = MultiFernet([Fernet(key) for key in keys[:1]])
        except ValueError:
            raise ConfigError(
                "DATA_KEYS precisa ter ao menos uma chave, e só chaves Fernet; "
                "crie uma com: ticket-worker keygen"
            ) from None

    def seal(self, value: Personal) -> bytes:
        """The encrypted form of a personal value, for a payload column."""
        return self._fernet.encrypt(_encode(value.reveal()))

    def open(self, sealed: bytes) -> Personal:
        """The value `seal` was given; it is decrypted when it is revealed, which may raise `Unreadable`."""
        return _Sealed(self, sealed)

    def decrypt(self, sealed: bytes) -> str:
        """The text of a sealed value. Raises `Unreadable` when no key opens it."""
        try:
            return self._fernet.decrypt(sealed).decode("utf-8", "surrogatepass")
        except (InvalidToken, UnicodeDecodeError):
            raise Unreadable("nenhuma chave de DATA_KEYS abre um valor gravado no banco") from None

    def reseal(self, sealed: bytes) -> bytes | None:
        """The same value under the first key; None when it is already. Raises `StoreError` as `open` does."""
        try:
            self._first.decrypt(sealed)
        except InvalidToken:
            pass
        else:
            return None
        try:
            return self._fernet.rotate(sealed)
        except InvalidToken:
            raise StoreError("nenhuma chave de DATA_KEYS abre um valor gravado no banco") from None

    def seal_bytes(self, value: bytes) -> bytes:
        """The wrapped form of a key, for the store."""
        return self._fernet.encrypt(value)

    def open_bytes(self, sealed: bytes) -> bytes:
        """The key `seal_bytes` was given. Raises `ConfigError` when `DATA_KEYS` cannot unwrap it."""
        try:
            return self._fernet.decrypt(sealed)
        except InvalidToken:
            raise ConfigError(
                "DATA_KEYS não abre a chave de índice deste banco: inclua a chave com que ele foi criado "
                "(as antigas ficam depois da nova, separadas por vírgula)"
            ) from None


class _Sealed(Personal):
    """A stored value, decrypted when revealed: so a value that no key opens does not block its row."""

    __slots__ = ("_opened", "_sealed", "_vault")

    def __init__(self, vault: Vault, sealed: bytes) -> None:
        self._vault, self._sealed = vault, sealed
        self._opened: str | None = None

    def reveal(self) -> str:
        """Raises `Unreadable`."""
        if self._opened is None:
            self._opened = self._vault.decrypt(self._sealed)
        return self._opened


def readable(value: Personal | None) -> Personal | None:
    """The value; None for one that no key opens."""
    try:
        if value is not None:
            value.reveal()
    except Unreadable:
        return None
    return value


# ------------------------------------------------------------------------------------------- keyed hashes

_INDEX_KEY_BYTES = 32


def new_index_key() -> bytes:
    """A new index key. A database has one for ever, stored encrypted by the `Vault`."""
    return secrets.token_bytes(_INDEX_KEY_BYTES)


class Hasher:
    """Keyed hashes of personal values, which can be compared without storing the values."""

    __slots__ = ("_key",)

    def __init__(self, index_key: bytes) -> None:
        """Raises `ValueError` unless the key has 32 bytes."""
        if len(index_key) != _INDEX_KEY_BYTES:
            raise ValueError(f"an index key has {_INDEX_KEY_BYTES} bytes")
        self._key = index_key

    def digest(self, purpose: str, *parts: str) -> str:
        """HMAC-SHA256 in hex. Lengths go in too: `("ab", "c")` and `("a", "bc")` differ; so do purposes."""
        encoded = [_encode(part) for part in (purpose, *parts)]
        message = b"".join(len(part).to_bytes(8, "big") + part for part in encoded)
        return hmac.new(self._key, message, hashlib.sha256).hexdigest()


def _encode(text: str) -> bytes:
    """UTF-8 that keeps the lone surrogates a model can put into JSON."""
    return text.encode("utf-8", "surrogatepass")


# ----------------------------------------------------------------------------------------------- echoing

_ECHO_LENGTH = 60
_ADDRESS = re.compile(r"@|://|www\.|\.[a-z]{2,}/", re.IGNORECASE)
"""Marks a word as an e-mail address or a URL, with or without its scheme."""

_NUMBER = re.compile(
    r"\b[0-9a-z]{2}\.?[0-9a-z]{3}\.?[0-9a-z]{3}/?[0-9a-z]{4}-?[0-9]{2}\b"  # an alphanumeric CNPJ
    r"|\d(?:[\W_]{0,3}\d){3,}",  # four or more digits, however they are grouped
    re.IGNORECASE,
)


def echo(text: str) -> str:
    """The model's own text without personal values, to quote it in an answer (contract §6).

    At most 60 characters; without control and bidi characters, and with numbers of four or more digits,
    e-mails and URLs replaced by `…`.
    """
    visible = "".join(char for char in text if char.isprintable() or char.isspace())
    words = ("…" if _ADDRESS.search(word) else word for word in visible.split())
    return _NUMBER.sub("…", " ".join(words))[:_ECHO_LENGTH].rstrip()
