"""Settings from the environment and `.env` (contract §2): all problems at once, no secret ever printed."""

import os
import re
import stat
from collections.abc import Mapping, Sequence, Set
from difflib import SequenceMatcher
from pathlib import Path
from typing import get_args

from dotenv.parser import Binding, parse_stream
from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from worker.errors import ConfigError
from worker.settings import network
from worker.settings.fields import Settings, is_loopback
from worker.settings.messages import message
from worker.settings.platforms import platform_names

_SDK_NAMES = frozenset(
    {
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
        "OPENAI_ADMIN_KEY",
        "OPENAI_LOG",
        "OPENAI_SPEC_DIR",
    }
)
_OUR_NAMES = frozenset(name + suffix for name in Settings.model_fields for suffix in ("", "_FILE"))
_KNOWN_NAMES = _OUR_NAMES | _SDK_NAMES
_PREFIXES = tuple({name.split("_")[0] + "_" for name in Settings.model_fields})
_TYPO_EDITS = 2
_TOKEN_LENGTH = 16
"""Characters of the shortest API_TOKEN that may face a network."""

_NEEDED_BY_RUN = {
    "PLATFORM": f"use {platform_names()}",
    "OPENAI_API_KEY": "a chave da plataforma",
    "CRM_WEBHOOK_URL": "o endereço do webhook que abre tickets",
    "DATA_KEYS": "crie uma chave com: ticket-worker keygen",
}


def load(
    environ: Mapping[str, str] | None = None, env_file: Path = Path(".env"), *, for_run: bool = False
) -> tuple[Settings, list[str]]:
    """Read the settings; returns them with warnings. Raises `ConfigError` with every problem found.

    What the environment says of a setting, be it "empty", comes before the file. `for_run` also demands what
    the daemon cannot do without (contract §2).
    """
    problems: list[str] = []
    if environ is None:
        environ = os.environ
        problems += network.problems()
    from_file = _read_env_file(env_file, problems)
    warnings = _check_names(environ, from_file, problems)
    raw = _collect((environ, from_file), problems)
    if _secret_names(from_file) and _readable_by_others(env_file):
        warnings.append(f"{env_file} guarda segredos e outros usuários podem lê-lo: chmod 600 {env_file}")
    if for_run:
        problems += _missing_for_run(raw)
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(*problems, *_sentences(error)) from None
    if problems:
        raise ConfigError(*problems)
    return settings, warnings


def _missing_for_run(raw: Mapping[str, str]) -> list[str]:
    problems = [
        f"{name} não está definida: {hint}" for name, hint in _NEEDED_BY_RUN.items() if name not in raw
    ]
    if raw.get("OPENAI_AUTH") == "entra":
        problems = [problem for problem in problems if not problem.startswith("OPENAI_API_KEY")]
    if raw.get("HTTP_PORT") != "0" and not is_loopback(raw.get("HTTP_HOST", "127.0.0.1")):
        problems += _token_problems(raw.get("API_TOKEN"))
    signed = [url for url in ("BOT_WEBHOOK_URL", "TOOL_FORWARD_URL") if url in raw]
    if signed and "BOT_WEBHOOK_SECRET" not in raw:
        problems.append(f"BOT_WEBHOOK_SECRET não está definida: {' e '.join(signed)} precisa dela (whsec_…)")
    return problems


def _token_problems(token: str | None) -> list[str]:
    """Beyond loopback a token is guessed at by machines."""
    if token is None:
        return ["API_TOKEN não está definida: sem ela, HTTP_HOST precisa ser um endereço local (127.0.0.1)"]
    if len(token) < _TOKEN_LENGTH:
        return [
            f"API_TOKEN precisa ter ao menos {_TOKEN_LENGTH} caracteres quando HTTP_HOST não é um endereço "
            "local; crie um com: openssl rand -hex 32"
        ]
    return []


def _secret_names(from_file: Mapping[str, str]) -> set[str]:
    """The settings of the file that are secret, and not empty."""
    fields = Settings.model_fields
    return {name for name, text in from_file.items() if text and name in fields and _is_secret(fields[name])}


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in get_args(field.annotation) or not field.repr


def _readable_by_others(path: Path) -> bool:
    return bool(path.stat().st_mode & stat.S_IROTH)


def _check_names(environ: Mapping[str, str], from_file: Mapping[str, str], problems: list[str]) -> list[str]:
    """Names that look like ours and are not: an error when a known one is near, else a warning in `.env`.

    The environment also holds other programs' names (`HTTPS_PORT`, `OPENAI_API_KEY_2`): there only a slip of
    the pen is an error, and only while the name it stands for is not set.
    """
    warnings = []
    for name in sorted({*environ, *from_file}):
        near = _typo_of(name)
        if near and (name in from_file or _is_slip(near, name, {*environ, *from_file})):
            problems.append(f"{name} não é uma configuração conhecida; você quis dizer {near}?")
        elif name in from_file and name not in _KNOWN_NAMES and name.upper().startswith(_PREFIXES):
            warnings.append(f"{name} no .env não é uma configuração conhecida e foi ignorada")
    return warnings


def _read_env_file(path: Path, problems: list[str]) -> dict[str, str]:
    """The assignments of a `.env` file. A line that is none is told by its number: it may hold a secret."""
    try:
        if not path.is_file():
            return {}
        with path.open(encoding="utf-8") as stream:
            bindings = [each for each in parse_stream(stream) if each.error or each.key is not None]
    except (OSError, UnicodeDecodeError):
        problems.append(f"{path} não pôde ser lido; confira a permissão e a codificação (UTF-8)")
        return {}
    values: dict[str, str] = {}
    for each in bindings:
        if each.key and each.value is not None and re.fullmatch(r"[A-Za-z_]\w*", each.key, re.ASCII):
            values[each.key] = each.value
        else:
            problems.append(f"A linha {_line_of(each)} de {path} não tem a forma NOME=valor")
    return values


def _line_of(binding: Binding) -> int:
    """The line the assignment begins on: the parser counts the blank lines before it as part of it."""
    text = binding.original.string
    return binding.original.line + text[: len(text) - len(text.lstrip())].count("\n")


def _collect(sources: Sequence[Mapping[str, str]], problems: list[str]) -> dict[str, str]:
    """The raw text of each setting, by the first source that names it; `NAME_FILE` reads NAME from a file."""
    raw: dict[str, str] = {}
    for name in Settings.model_fields:
        named = (source for source in sources if name in source or f"{name}_FILE" in source)
        if text := _text_of(name, next(named, {}), problems):
            raw[name] = text
    return raw


def _text_of(name: str, source: Mapping[str, str], problems: list[str]) -> str:
    text, path = source.get(name, "").strip(), source.get(f"{name}_FILE", "").strip()
    if not path:
        return text
    if text:
        problems.append(f"{name} e {name}_FILE estão definidas; deixe só uma delas")
        return text
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):  # ValueError: not UTF-8, or a path with NUL
        problems.append(f"{name}_FILE aponta para um arquivo que não pôde ser lido")
        return ""


def _typo_of(name: str) -> str | None:
    """The known name this one is a misspelling of, the nearest first."""
    if name in _KNOWN_NAMES:
        return None
    near = [(edits, known) for known in _OUR_NAMES if (edits := _edits(name, known)) <= _TYPO_EDITS]
    return min(near)[1] if near else None


def _is_slip(meant: str, name: str, names: Set[str]) -> bool:
    """Whether a name of the environment is a misspelt `meant`, not another program's name."""
    base = meant.removesuffix("_FILE")
    return not names & {base, f"{base}_FILE"} and not _has_suffix(name, meant)


def _has_suffix(name: str, meant: str) -> bool:
    """Whether a word of the name is that of `meant` with something behind it, or comes after all of them."""
    words, meant_words = name.split("_"), meant.split("_")
    if len(words) != len(meant_words):
        return len(words) > len(meant_words)
    pairs = [(word, other) for word, other in zip(words, meant_words, strict=True) if word != other]
    return all(word.startswith(other) for word, other in pairs)


def _edits(a: str, b: str) -> int:
    """How many letters differ, by difflib's alignment; more than a typo has where lengths or letters say so.

    Every start compares the whole environment with all names. An edit changes at most two letters of the set.
    """
    if abs(len(a) - len(b)) > _TYPO_EDITS or len(set(a) ^ set(b)) > 2 * _TYPO_EDITS:
        return _TYPO_EDITS + 1
    aligned = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    return sum(max(i2 - i1, j2 - j1) for tag, i1, i2, j1, j2 in aligned if tag != "equal")


def _sentences(error: ValidationError) -> list[str]:
    found = []
    for item in error.errors(include_url=False, include_input=False):
        where = ".".join(str(part) for part in item["loc"])
        found.append(f"{where} {message(item)}" if where else message(item))
    return found
