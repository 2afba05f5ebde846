"""Settings: all problems at once, misspellings found, no secret ever printed (contract §2)."""

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from worker.errors import ConfigError
from worker.settings import Settings, is_loopback, load

NOWHERE = Path("/nonexistent/.env")
KEY = Fernet.generate_key().decode()
SECRET = "s3gr3do"
FOR_RUN = {
    "PLATFORM": "assistants",
    "OPENAI_API_KEY": "sk-test",
    "CRM_WEBHOOK_URL": "https://crm.example/webhook",
    "DATA_KEYS": KEY,
}


def configured(**environ: str) -> Settings:
    return load(environ, NOWHERE)[0]


def problems(env_file: Path = NOWHERE, *, for_run: bool = False, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(environ, env_file, for_run=for_run)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)
    return list(caught.value.problems)


@pytest.fixture
def env_file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


# ------------------------------------------------------------------------------------------------- values


def test_with_nothing_set_the_defaults_are_the_contracts() -> None:
    defaults = configured()
    assert (defaults.PLATFORM, defaults.CRM_TIMEOUT_S, defaults.CRM_SETTLE_S) == (None, 10.0, 20.0)
    assert (defaults.CRM_MAX_ATTEMPTS, defaults.CRM_IDEMPOTENT) == (3, True)
    assert (defaults.HTTP_HOST, defaults.HTTP_PORT) == ("127.0.0.1", 8080)
    assert (defaults.DATABASE_URL, defaults.LOG_DIR) == ("sqlite:///data/worker.db", "logs")
    assert (defaults.data_keys, defaults.assistant_ids) == ([], {})


def test_values_are_read_with_the_space_around_them_forgiven() -> None:
    found = configured(PLATFORM=" assistants\n", LOG_LEVEL="debug", CRM_IDEMPOTENT="false", HTTP_PORT="0")
    assert (found.PLATFORM, found.LOG_LEVEL, found.CRM_IDEMPOTENT, found.HTTP_PORT) == (
        "assistants",
        "DEBUG",
        False,
        0,
    )


def test_an_empty_or_blank_value_is_unset() -> None:
    assert configured(CRM_TIMEOUT_S="", API_TOKEN="  ").API_TOKEN is None


def test_the_keys_and_the_assistants_come_apart() -> None:
    found = configured(DATA_KEYS=f"{KEY} ,{KEY},", SUPORTE_ASSISTANT_ID="asst_1")
    assert found.data_keys == [KEY, KEY]
    assert found.assistant_ids == {"SUPORTE": "asst_1"}


# ----------------------------------------------------------------------------------------------- problems


def test_all_problems_are_reported_together() -> None:
    found = problems(
        for_run=True,
        PLATFORM="azure",
        CRM_TIMEOUT_S="0",
        CRM_SETTLE_S="-1",
        CRM_MAX_ATTEMPTS="1.5",
        CRM_IDEMPOTENT="talvez",
        CRM_BACKOFF_MAX_S="inf",
        CRM_BREAKER_RESET_S="muito",
        HTTP_PORT="70000",
        LOG_LEVL="INFO",
        LOG_FORMAT="xml",
        TIMEZONE="America/Lugar_Nenhum",
        CRM_PROTOCOL_PATTERN="(",
        DATABASE_URL=f"mysql://{SECRET}",
        DATA_KEYS=SECRET,
    )
    assert sorted(found) == sorted(
        [
            "PLATFORM precisa ser assistants, agents ou responses",
            "OPENAI_API_KEY não está definida: a chave da plataforma",
            "CRM_WEBHOOK_URL não está definida: o endereço do webhook que abre tickets",
            "CRM_TIMEOUT_S precisa ser maior que 0",
            "CRM_SETTLE_S precisa ser no mínimo 0",
            "CRM_MAX_ATTEMPTS precisa ser um número inteiro",
            "CRM_IDEMPOTENT precisa ser true ou false",
            "CRM_BACKOFF_MAX_S precisa ser um número finito",
            "CRM_BREAKER_RESET_S precisa ser um número",
            "HTTP_PORT precisa ser no máximo 65535",
            "LOG_LEVL não é uma configuração conhecida; você quis dizer LOG_LEVEL?",
            "LOG_FORMAT precisa ser um destes: 'text' ou 'json'",
            "TIMEZONE não é um fuso conhecido; use um nome como America/Sao_Paulo",
            "CRM_PROTOCOL_PATTERN não é uma expressão regular válida",
            "DATABASE_URL precisa começar com sqlite:/// ou postgresql://",
            "DATA_KEYS contém uma chave que não é Fernet; crie uma com: ticket-worker keygen",
        ]
    )


def test_only_run_demands_what_the_daemon_cannot_do_without() -> None:
    load({}, NOWHERE)
    load(FOR_RUN, NOWHERE, for_run=True)
    named = [problem.split()[0] for problem in problems(for_run=True)]
    assert named == ["PLATFORM", "OPENAI_API_KEY", "CRM_WEBHOOK_URL", "DATA_KEYS"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "worker.example"])
def test_beyond_loopback_the_server_needs_a_token(host: str) -> None:
    (problem,) = problems(for_run=True, HTTP_HOST=host, **FOR_RUN)
    assert problem.startswith("API_TOKEN não está definida")
    load({**FOR_RUN, "HTTP_HOST": host, "API_TOKEN": "0123456789abcdef"}, NOWHERE, for_run=True)
    load({**FOR_RUN, "HTTP_HOST": host, "HTTP_PORT": "0"}, NOWHERE, for_run=True)


@pytest.mark.parametrize("token", ["1", "0123456789abcde"])
def test_a_short_token_is_refused_beyond_loopback_and_not_shown(token: str) -> None:
    (problem,) = problems(for_run=True, **{**FOR_RUN, "HTTP_HOST": "0.0.0.0", "API_TOKEN": token})
    assert problem == (
        "API_TOKEN precisa ter ao menos 16 caracteres quando HTTP_HOST não é um endereço local; "
        "crie um com: openssl rand -hex 32"
    )
    load({**FOR_RUN, "API_TOKEN": token}, NOWHERE, for_run=True)
    load({**FOR_RUN, "HTTP_HOST": "0.0.0.0", "HTTP_PORT": "0", "API_TOKEN": token}, NOWHERE, for_run=True)


@pytest.mark.parametrize(
    ("value", "networks"),
    [
        (None, []),
        ("127.0.0.1", ["127.0.0.1/32"]),
        ("10.0.0.0/8, ::1 ,", ["10.0.0.0/8", "::1/128"]),
    ],
)
def test_trusted_proxies_are_addresses_and_networks(value: str | None, networks: list[str]) -> None:
    found = configured(**({} if value is None else {"TRUSTED_PROXIES": value}))
    assert [str(network) for network in found.trusted_proxies] == networks


@pytest.mark.parametrize("value", ["*", "proxy.example", "10.0.0.1/8", "10.0.0", SECRET])
def test_a_proxy_that_is_no_address_is_refused(value: str) -> None:
    (problem,) = problems(TRUSTED_PROXIES=value)
    assert problem.startswith("TRUSTED_PROXIES precisa ser uma lista de endereços ou redes")


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("LOCALHOST", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("127.0.0.1.evil.example", False),
        ("127.999.0.1", False),
        ("0.0.0.0", False),
        ("", False),
    ],
)
def test_loopback_is_this_machine_only(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    "url",
    [
        "crm.example",
        "ftp://crm.example",
        "http://",
        "http://[",
        "http://crm:99999",
        "http://crm:0",
        "http://crm/a\nb",
        "http://crm/a b",
    ],
)
def test_a_url_is_complete_or_refused(url: str) -> None:
    assert problems(CRM_WEBHOOK_URL=url) == [
        "CRM_WEBHOOK_URL precisa ser uma URL http:// ou https:// completa"
    ]


@pytest.mark.parametrize(
    "header", [SECRET, f"X-Key:\n{SECRET}", f"X-Key: a\r\nX-Evil: {SECRET}", "X Key: a", ": a"]
)
def test_a_header_that_could_become_two_is_refused(header: str) -> None:
    (problem,) = problems(CRM_AUTH_HEADER=header)
    assert problem.startswith("CRM_AUTH_HEADER precisa ter a forma")


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "API_TOKEN"])
@pytest.mark.parametrize("value", [f"{SECRET} x", f"{SECRET}\nx", f"{SECRET}ç", f"{SECRET}\udcff"])
def test_a_key_that_fits_no_header_is_refused(name: str, value: str) -> None:
    (problem,) = problems(**{name: value})
    assert problem == f"{name} tem espaços ou caracteres que não cabem num cabeçalho HTTP"


def test_keys_that_are_only_commas_are_none() -> None:
    assert problems(DATA_KEYS=" , ")[0].startswith("DATA_KEYS não contém nenhuma chave")


def test_the_longest_poll_interval_is_not_below_the_shortest() -> None:
    assert problems(POLL_MIN_S="9") == ["POLL_MAX_S não pode ser menor que POLL_MIN_S"]
    assert problems(POLL_MIN_S="x", POLL_MAX_S="1") == ["POLL_MIN_S precisa ser um número"]


# ------------------------------------------------------------------------------------------------ secrets


def test_no_secret_is_in_any_printed_form_of_the_settings() -> None:
    found = configured(
        OPENAI_API_KEY=SECRET,
        API_TOKEN=SECRET,
        CRM_AUTH_HEADER=f"X-Key: {SECRET}",
        DATA_KEYS=KEY,
        DATABASE_URL=f"postgresql://worker:{SECRET}@db/worker",
        CRM_WEBHOOK_URL=f"https://user:{SECRET}@crm.example/{SECRET}?token={SECRET}",
        OPENAI_BASE_URL=f"https://{SECRET}.example",
    )
    for printed in (repr(found), str(found), f"{found}"):
        assert SECRET not in printed
        assert KEY not in printed


@given(st.sampled_from(sorted(Settings.model_fields)), st.text(max_size=8))
def test_no_value_is_repeated_in_a_problem(name: str, tail: str) -> None:
    told: tuple[object, ...] = ()
    try:
        told = load({name: SECRET + tail}, NOWHERE)[1:]
    except ConfigError as error:
        told = (*error.problems, repr(error))
    assert SECRET not in str(told)


# -------------------------------------------------------------------------------------------------- files


def test_a_setting_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"{KEY}\n")
    assert configured(DATA_KEYS_FILE=str(tmp_path / "key")).data_keys == [KEY]


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_a_problem_that_does_not_repeat_it(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / SECRET
    if content is not None:
        path.write_bytes(content)
    assert problems(DATA_KEYS_FILE=str(path)) == [
        "DATA_KEYS_FILE aponta para um arquivo que não pôde ser lido"
    ]


def test_a_path_that_can_be_none_is_a_problem() -> None:
    assert problems(API_TOKEN_FILE="a\0b") == ["API_TOKEN_FILE aponta para um arquivo que não pôde ser lido"]


def test_a_setting_given_twice_is_a_problem() -> None:
    assert problems(API_TOKEN=SECRET, API_TOKEN_FILE="x") == [
        "API_TOKEN e API_TOKEN_FILE estão definidas; deixe só uma delas"
    ]


def test_the_environment_comes_before_the_env_file(env_file: Path, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("do-arquivo")
    env_file.write_text(
        "\ufeffMAX_RUNS=5\r\nCRM_CONCURRENCY=6 # seis\r\nAPI_TOKEN='do-env'\r\nLOG_DIR=x\r\n",
        encoding="utf-8",
    )
    env_file.chmod(0o600)
    environ = {"CRM_CONCURRENCY": "7", "API_TOKEN_FILE": str(tmp_path / "token"), "LOG_DIR": ""}
    found, warnings = load(environ, env_file)
    assert (found.MAX_RUNS, found.CRM_CONCURRENCY, found.LOG_DIR) == (5, 7, "logs")
    assert found.API_TOKEN is not None
    assert found.API_TOKEN.get_secret_value() == "do-arquivo"
    assert warnings == []


def test_a_value_of_the_env_file_is_taken_as_it_stands(env_file: Path) -> None:
    env_file.write_text("CRM_PROTOCOL_PATTERN='^${HOME}\\d+$'\n")
    assert load({}, env_file)[0].CRM_PROTOCOL_PATTERN == "^${HOME}\\d+$"


def test_a_line_of_the_env_file_that_says_nothing_is_reported_by_its_number(env_file: Path) -> None:
    env_file.write_text(
        f"# c\n\n\nOPENAI_API_KEY: {SECRET}\nOPENAI_API_KEY:{SECRET}\nCRM {SECRET}\n\n"
        f"API-TOKEN={SECRET}\nMAX_RUNS=5"
    )
    assert problems(env_file) == [
        f"A linha {line} de {env_file} não tem a forma NOME=valor" for line in (4, 5, 6, 8)
    ]


@pytest.mark.parametrize("content", [b"LOG_DIR=\xff\n"])
def test_an_env_file_that_is_not_utf8_is_a_problem(env_file: Path, content: bytes) -> None:
    env_file.write_bytes(content)
    assert problems(env_file)[0].startswith(f"{env_file} não pôde ser lido")


def test_a_folder_named_env_is_no_env_file(env_file: Path) -> None:
    env_file.mkdir()
    assert load({}, env_file)[1] == []


# -------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [
        ("LOGDIR", "LOG_DIR"),
        ("LOG_DRI", "LOG_DIR"),
        ("PLATAFORM", "PLATFORM"),
        ("OPENAI_APIKEY", "OPENAI_API_KEY"),
        ("CRM_WEBHOK_ULR", None),
        ("CRM_WEBHOOK_ULR", "CRM_WEBHOOK_URL"),
        ("DATA_KEY_FILE", "DATA_KEYS_FILE"),
        ("RECEPÇÃO_ASSISTANT_ID", "RECEPCAO_ASSISTANT_ID"),
    ],
)
def test_a_name_within_two_edits_is_an_error_that_names_the_right_one(wrong: str, meant: str | None) -> None:
    if meant is None:
        assert load({wrong: SECRET}, NOWHERE)[1] == []
    else:
        assert problems(**{wrong: SECRET}) == [
            f"{wrong} não é uma configuração conhecida; você quis dizer {meant}?"
        ]


def test_a_misspelled_name_in_the_env_file_is_an_error_too(env_file: Path) -> None:
    env_file.write_text(f"API_TOKN={SECRET}\n")
    assert problems(env_file) == ["API_TOKN não é uma configuração conhecida; você quis dizer API_TOKEN?"]


def test_an_unknown_name_of_ours_warns_in_the_env_file_and_nowhere_else(env_file: Path) -> None:
    names = ["CRM_LOGIN_DO_PORTAL", "MAX_POWER_OF_US", "openai_api_key"]
    env_file.write_text("".join(f"{name}={SECRET}\n" for name in [*names, "OTHER_THING", "OPENAI_ORG_ID"]))
    warnings = load({}, env_file)[1]
    assert warnings == [
        f"{name} no .env não é uma configuração conhecida e foi ignorada" for name in sorted(names)
    ]
    assert load(dict.fromkeys(names, SECRET), NOWHERE)[1] == []


@pytest.mark.parametrize("name", ["HTTPS_PORT", "OPENAI_API_KEY_2", "HTTP_PORTS", "LOG_DIRS_FILE"])
def test_a_name_with_a_suffix_belongs_to_another_program_in_the_environment_only(
    name: str, env_file: Path
) -> None:
    assert load({name: "443"}, NOWHERE)[1] == []
    env_file.write_text(f"{name}=443\n")
    (problem,) = problems(env_file)
    assert problem.startswith(f"{name} não é uma configuração conhecida; você quis dizer ")


@pytest.mark.parametrize("right", ["LOG_DIR", "LOG_DIR_FILE"])
def test_a_near_name_in_the_environment_is_no_misspelling_beside_the_right_one(
    right: str, tmp_path: Path
) -> None:
    (tmp_path / "dir").write_text("logs")
    load({right: str(tmp_path / "dir"), "LOGDIR": "/var/log"}, NOWHERE)
    assert problems(LOGDIR="/var/log") == [
        "LOGDIR não é uma configuração conhecida; você quis dizer LOG_DIR?"
    ]


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True), (0o604, True)])
def test_a_secret_in_a_file_that_others_can_read_is_warned_of(
    env_file: Path, mode: int, warned: bool
) -> None:
    env_file.write_text(f"API_TOKEN={SECRET}\n")
    env_file.chmod(mode)
    expected = f"{env_file} guarda segredos e outros usuários podem lê-lo: chmod 600 {env_file}"
    assert load({}, env_file)[1] == ([expected] if warned else [])


def test_a_file_without_secrets_may_be_read_by_anyone(env_file: Path) -> None:
    env_file.write_text("MAX_RUNS=5\nAPI_TOKEN=\n")
    env_file.chmod(0o644)
    assert load({}, env_file)[1] == []


def test_names_of_the_sdk_are_no_misspellings() -> None:
    load({"OPENAI_ORG_ID": "x", "OPENAI_LOG": "debug", "PATH": "/bin", "LOGNAME": "x"}, NOWHERE)


def test_the_process_environment_is_read_when_none_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_RUNS", "12")
    assert load(env_file=NOWHERE)[0].MAX_RUNS == 12


# ------------------------------------------------------------------------------------------ more assistants


def test_more_assistants_stand_beside_the_named_ones() -> None:
    found = Settings(SUPORTE_ASSISTANT_ID="asst_1", ASSISTANT_IDS=" comercial=asst_2, POS_VENDA = asst_3,")
    assert found.assistant_ids == {"SUPORTE": "asst_1", "COMERCIAL": "asst_2", "POS_VENDA": "asst_3"}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("COMERCIAL", "precisa ter a forma"),
        ("COMERCIAL=", "precisa ter a forma"),
        ("=asst_1", "precisa ter a forma"),
        ("LOCAÇÃO=asst_1", "precisa ter a forma"),
        ("A 1=asst_1", "precisa ter a forma"),
        ("A=asst 1", "precisa ter a forma"),
        ("Y20261=asst_1", "precisa ter a forma"),
        ("SUPORTE=asst_1", "use SUPORTE_ASSISTANT_ID"),
        ("A=asst_1,a=asst_2", "tem A mais de uma vez"),
    ],
)
def test_a_list_of_assistants_that_is_none_is_refused(value: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        load({"ASSISTANT_IDS": value}, Path("none.env"))
    assert error.value.problems[0].startswith("ASSISTANT_IDS ")
    assert problem in error.value.problems[0]


def test_the_address_of_a_conversation_has_a_place_for_its_id(make_settings: Callable[..., Settings]) -> None:
    address = "https://chat.example/c/{conversation_id}"
    assert address == make_settings(CONVERSATION_URL=address).CONVERSATION_URL
    with pytest.raises(ValidationError, match=r"precisa ter \{conversation_id\}"):
        make_settings(CONVERSATION_URL="https://chat.example/c/1")
