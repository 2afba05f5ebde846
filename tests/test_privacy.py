"""Documents, encryption, keyed hashes and echoes."""

import re
import unicodedata

import pytest
from cryptography.fernet import Fernet
from hypothesis import given, settings
from hypothesis import strategies as st
from validate_docbr import CNPJ, CPF

from worker.errors import ConfigError, Unreadable
from worker.personal import Personal
from worker.privacy import Hasher, Vault, echo, holds_personal, mask_document, new_index_key, parse_document

OLD, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()

# ---------------------------------------------------------------------------------------------- documents


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("529.982.247-25", "52998224725"),
        ("52998224725", "52998224725"),
        ("529982247-25", "52998224725"),
        ("  52998224725\n", "52998224725"),
        ("\N{NO-BREAK SPACE}529.982.247-25", "52998224725"),
        ("00000000191", "00000000191"),
        ("11.222.333/0001-81", "11222333000181"),
        ("11222333000181", "11222333000181"),
        ("12ABC34501DE35", "12ABC34501DE35"),
        ("12.abc.345/01de-35", "12ABC34501DE35"),
    ],
)
def test_a_document_is_kept_bare_and_upper_case(text: str, bare: str) -> None:
    parsed = parse_document(text)
    assert parsed is not None
    assert parsed.reveal() == bare


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "529.982.247-26",
        "111.111.111-11",
        "00000000000",
        "2998224725",
        "191",
        "0052998224725",
        "529 982 247 25",
        "529.98.2247-25",
        "529/982/247-25",
        "CPF 52998224725",
        "52998224725x",
        "５２９９８２２４７２５",
        "٥٢٩٩٨٢٢٤٧٢٥",
        "529.982.247\N{EN DASH}25",
        "\u202a52998224725\u202c",
        "52998224725\0",
        "11.222.333/0001-82",
        "00000000000000",
        "12ABC34501DE36",
        "12ABC34501DEAB",
        "12ÁBC34501DE35",
        "12ABC34501DE3",
        "ſ2ABC34501DE99",  # whose upper case is a valid one
    ],
)
def test_what_is_no_document_is_refused_not_guessed(text: str) -> None:
    assert parse_document(text) is None


@given(st.randoms(use_true_random=False))
def test_every_valid_document_is_known_masked_and_bare(random) -> None:
    for kind in (CPF(), CNPJ()):
        bare = kind.generate()
        for form in (bare, kind.mask(bare)):
            parsed = parse_document(form)
            assert parsed is not None
            assert parsed.reveal() == bare


@given(st.text())
def test_any_text_is_a_document_or_none(text: str) -> None:
    parsed = parse_document(text)
    assert parsed is None or re.fullmatch(r"[0-9]{11}|[0-9A-Z]{12}[0-9]{2}", parsed.reveal())


@pytest.mark.parametrize(
    ("bare", "masked"),
    [
        ("52998224725", "***.982.247-**"),
        ("11222333000181", "**.222.333/****-**"),
        ("12ABC34501DE35", "**.ABC.345/****-**"),
        ("123", "***"),
    ],
)
def test_a_masked_document_shows_at_most_its_middle(bare: str, masked: str) -> None:
    assert mask_document(Personal(bare)) == masked


# --------------------------------------------------------------------------------------------- encryption


@given(st.text(alphabet=st.characters()))
def test_what_is_sealed_opens_to_the_same_value(text: str) -> None:
    vault = Vault([OLD])
    assert vault.open(vault.seal(Personal(text))).reveal() == text


def test_a_lone_surrogate_survives_sealing() -> None:
    vault = Vault([OLD])
    assert vault.open(vault.seal(Personal("a\ud800b"))).reveal() == "a\ud800b"


def test_the_first_key_seals_and_every_key_opens() -> None:
    value = Personal("52998224725")
    both = Vault([NEW, OLD])
    assert both.open(Vault([OLD]).seal(value)) == value
    assert Vault([NEW]).open(both.seal(value)) == value
    with pytest.raises(Unreadable):
        Vault([OLD]).open(both.seal(value)).reveal()


def test_a_sealed_value_holds_nothing_of_it() -> None:
    assert b"52998224725" not in Vault([OLD]).seal(Personal("52998224725"))


@pytest.mark.parametrize(
    "sealed",
    [b"", b"lixo", Vault([NEW]).seal(Personal("x")), Vault([OLD]).seal_bytes(b"\xff")],
    ids=["empty", "rubbish", "another_key", "not_utf8"],
)
def test_what_no_key_opens_is_unreadable_once_it_is_needed(sealed: bytes) -> None:
    value = Vault([OLD]).open(sealed)
    with pytest.raises(Unreadable, match="DATA_KEYS"):
        value.reveal()


def test_an_index_key_is_unwrapped_by_any_of_the_keys() -> None:
    key = new_index_key()
    assert Vault([NEW, OLD]).open_bytes(Vault([OLD]).seal_bytes(key)) == key


def test_keys_that_cannot_unwrap_the_index_key_are_a_configuration_error() -> None:
    with pytest.raises(ConfigError, match="DATA_KEYS não abre a chave de índice"):
        Vault([NEW]).open_bytes(Vault([OLD]).seal_bytes(new_index_key()))


@pytest.mark.parametrize("keys", [[], ["segredo-que-nao-e-chave"], [OLD, ""], ["çç"]])
def test_a_vault_without_proper_keys_is_refused_without_naming_them(keys: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Vault(keys)
    assert "segredo" not in str(caught.value)
    assert "keygen" in str(caught.value)


# ------------------------------------------------------------------------------------------- keyed hashes


def test_a_digest_depends_on_key_purpose_and_every_part() -> None:
    one, other = Hasher(b"1" * 32), Hasher(b"2" * 32)
    digests = {
        one.digest("document", "a"),
        other.digest("document", "a"),
        one.digest("log", "a"),
        one.digest("document", "b"),
        one.digest("document", "a", ""),
        one.digest("document"),
    }
    assert len(digests) == 6
    assert all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in digests)
    assert one.digest("document", "a") == Hasher(b"1" * 32).digest("document", "a")


@given(st.lists(st.text()), st.lists(st.text()))
def test_different_parts_never_share_a_digest(some: list[str], others: list[str]) -> None:
    hasher = Hasher(bytes(32))
    assert (hasher.digest("p", *some) == hasher.digest("p", *others)) == (some == others)


def test_where_one_part_ends_matters() -> None:
    hasher = Hasher(bytes(32))
    assert hasher.digest("p", "ab", "c") != hasher.digest("p", "a", "bc")
    assert hasher.digest("pa", "b") != hasher.digest("p", "ab")


def test_an_index_key_is_random_and_of_its_length() -> None:
    assert len(new_index_key()) == 32
    assert new_index_key() != new_index_key()
    with pytest.raises(ValueError, match="32 bytes"):
        Hasher(b"short")


def test_neither_vault_nor_hasher_shows_its_key() -> None:
    assert OLD not in repr(Vault([OLD]))
    assert "1111" not in repr(Hasher(b"1" * 32))


# ---------------------------------------------------------------------------------------------- echoing


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("2.VIA BOLETO", "2.VIA BOLETO"),
        ("RENEGOCIAÇÃO / ACORDO", "RENEGOCIAÇÃO / ACORDO"),
        ("INFORMAÇÃO LOGIN/SENHA", "INFORMAÇÃO LOGIN/SENHA"),
        ("fatura 123", "fatura 123"),
        ("fatura 1234.", "fatura …."),
        ("CPF 529.982.247-25 do João", "CPF … do João"),
        ("529 982 247 25", "…"),
        ("CNPJ 12.ABC.345/01DE-35 é meu", "CNPJ … é meu"),
        ("12abc34501de35", "…"),
        ("12\u200e34", "…"),
        ("12 \u200b \u200b \u200b \u200b 34", "…"),
        ("١٢٣٤", "…"),
        ("pago R$ 1.500,00", "pago R$ …"),
        ("ligue (11) 98765-4321", "ligue (…"),
        ("e-mail: Joao.Silva@exemplo.com.br!", "e-mail: …"),
        ("veja:https://x.y/z?a=b agora", "… agora"),
        ("WWW.exemplo.com", "…"),
        ("bit.ly/abc", "…"),
        ("a\u202eb\u0007c\nd\te\u2028f", "abc d e f"),
        ("{setor} %s", "{setor} %s"),
        ("á" * 61, "á" * 60),
        ("a" * 57 + " 12345", "a" * 57 + " …"),
        ("a" * 59 + " b", "a" * 59),
    ],
)
def test_an_echo_shows_the_text_but_nothing_personal(text: str, quoted: str) -> None:
    assert echo(text) == quoted


@pytest.mark.untraced
@given(st.lists(st.text() | st.from_regex(r"[\d .-]{1,12}") | st.emails() | st.just("https://a.b/c")))
@settings(deadline=None)
def test_an_echo_is_short_and_never_leaks(parts: list[str]) -> None:
    quoted = echo(" ".join(parts))
    assert len(quoted) <= 60
    assert not re.search(r"\d([ .,/_-]?\d){3}", quoted)
    assert "@" not in quoted
    assert "://" not in quoted
    assert not {unicodedata.category(char) for char in quoted} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


def test_an_echo_of_a_very_long_text_is_found_in_one_pass() -> None:
    assert echo("12 " * 50_000) == "…"
    assert echo("a" * 100_000) == "a" * 60


# ------------------------------------------------------------------------------------ bounds of the shapes


@pytest.mark.parametrize(
    "text",
    [
        "529.982.247-25.",
        "529.982.247-25--",
        "52998224725/",
        "529.982.247-25 e",
        "11.222.333/0001-81.",
        "11.222.333/0001-81//",
        "11222333000181-",
    ],
)
def test_a_document_with_something_behind_it_is_none(text: str) -> None:
    assert parse_document(text) is None


def test_a_value_that_does_not_open_shows_nothing_of_what_it_was() -> None:
    key = Fernet.generate_key().decode()
    sealed = Fernet(key).encrypt(b"\xff529.982.247-25")
    with pytest.raises(Unreadable) as raised:
        Vault([key]).open(sealed).reveal()
    assert raised.value.__suppress_context__
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("text", ["1_2_3_4", "12__34", "12___34", "1._-2._-3._-4"])
def test_groups_of_digits_are_one_number_however_they_are_joined(text: str) -> None:
    assert echo(f"a {text} b") == "a … b"


def test_digits_further_apart_are_several_numbers() -> None:
    assert echo("12____34") == "12____34"


PHONE, OLD_PHONE, LOCAL = "5524997135826", "552497135826", "997135826"


@pytest.mark.parametrize("contact", [PHONE, "+55 (24) 99713-5826", "24997135826", OLD_PHONE])
@pytest.mark.parametrize("protocolo", [PHONE, OLD_PHONE, "24997135826", "024997135826", "2497135826", LOCAL])
def test_a_telephone_number_is_no_protocolo_in_any_of_its_spellings(contact: str, protocolo: str) -> None:
    assert holds_personal(protocolo, [Personal(contact)])


@pytest.mark.parametrize("protocolo", ["2510271534789012", "1199713582", "2499713582", "97135827"])
def test_another_number_is_no_telephone_number(protocolo: str) -> None:
    assert not holds_personal(protocolo, [Personal(PHONE)])
