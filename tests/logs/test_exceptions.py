"""What a log tells of each library's exceptions: class, status and code, never a word they were made of."""

import json
import sqlite3
from collections.abc import Callable

import aiohttp
import httpx
import httpx2
import openai
import psycopg
import pytest
import sqlalchemy
import yarl
from cryptography.fernet import Fernet, InvalidToken
from fastapi.exceptions import RequestValidationError
from psycopg.conninfo import make_conninfo
from pydantic import BaseModel, ConfigDict, HttpUrl, TypeAdapter
from standardwebhooks import Webhook
from starlette.datastructures import URL

from tests.system.personal_values import DOCUMENT, PERSONAL, leaks
from tests.system.personal_values import URL as RECEIPT
from worker.log_fields import reduced
from worker.personal import Personal
from worker.privacy import Vault


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    number: int


def of_httpx(status: int) -> None:
    request = httpx.Request("POST", RECEIPT, content=PERSONAL)
    httpx.Response(status, text=PERSONAL, request=request).raise_for_status()


def of_openai(status: int, **body: str) -> None:
    request = httpx2.Request("POST", RECEIPT, content=PERSONAL.encode())
    answer = httpx2.Response(status, json={"error": {"message": PERSONAL, **body}}, request=request)
    client = openai.OpenAI(api_key="x", base_url="http://127.0.0.1:9")
    raise client._make_status_error_from_response(answer)


def of_openai_connection() -> None:
    raise openai.APIConnectionError(message=PERSONAL, request=httpx2.Request("GET", RECEIPT))


def of_sqlalchemy(statement: str, *values: object) -> None:
    with sqlalchemy.create_engine("sqlite://").begin() as connection:
        connection.execute(sqlalchemy.text("create table t (document text primary key)"))
        connection.execute(sqlalchemy.text("insert into t values (:d)"), {"d": DOCUMENT})
        connection.execute(sqlalchemy.text(statement), dict(zip("abc", values, strict=False)))


def of_psycopg(state: str) -> None:
    detail = f"Key (document)=({DOCUMENT}) already exists. {PERSONAL}"
    raise psycopg.errors.lookup(state)(detail)


def of_psycopg_in_sqlalchemy() -> None:
    try:
        of_psycopg("23505")
    except psycopg.Error as error:
        raise sqlalchemy.exc.IntegrityError(f"insert {PERSONAL}", {"a": PERSONAL}, error) from error


def of_aiohttp() -> None:
    info = aiohttp.RequestInfo(yarl.URL(RECEIPT), "GET", {}, yarl.URL(RECEIPT))  # type: ignore[arg-type]
    raise aiohttp.ClientResponseError(info, (), status=502, message=PERSONAL)


def of_cryptography() -> None:
    try:
        Fernet(Fernet.generate_key()).decrypt(PERSONAL.encode())
    except InvalidToken as error:
        raise error from None


SHOWN: dict[str, tuple[Callable[[], object], str]] = {
    "httpx 404": (lambda: of_httpx(404), "HTTPStatusError http=404"),
    "httpx 302": (lambda: of_httpx(302), "HTTPStatusError http=302"),
    "httpx, no server": (lambda: httpx.get("http://127.0.0.1:9", params={"q": PERSONAL}), "ConnectError"),
    "httpx, URL": (lambda: httpx.get(f"http://[{PERSONAL}"), "InvalidURL"),
    "httpx, scheme": (lambda: httpx.get(PERSONAL), "UnsupportedProtocol"),
    "httpx, header": (
        lambda: httpx.Headers({"x": PERSONAL + "\ud800"}),
        "UnicodeEncodeError",
    ),
    "pydantic": (
        lambda: Strict.model_validate({PERSONAL: PERSONAL, "number": PERSONAL}),
        "ValidationError rules=extra_forbidden,int_parsing",
    ),
    "pydantic, JSON": (
        lambda: Strict.model_validate_json(f'{{"{PERSONAL}'),
        "ValidationError rules=json_invalid",
    ),
    "pydantic, URL": (
        lambda: TypeAdapter(HttpUrl).validate_python(PERSONAL),
        "ValidationError rules=url_parsing",
    ),
    "FastAPI": (
        lambda: throw(
            RequestValidationError([{"type": "x", "loc": (PERSONAL,), "input": PERSONAL}], body=PERSONAL)
        ),
        "RequestValidationError",
    ),
    "SQLAlchemy, integrity": (
        lambda: of_sqlalchemy("insert into t values (:a)", DOCUMENT),
        "IntegrityError code=gkpj",
    ),
    "SQLAlchemy, syntax": (lambda: of_sqlalchemy(f"select '{PERSONAL}"), "OperationalError code=e3q8"),
    "SQLAlchemy, type": (
        lambda: of_sqlalchemy("insert into t values (:a)", Personal(PERSONAL)),
        "ProgrammingError code=f405",
    ),
    "SQLAlchemy, missing": (lambda: of_sqlalchemy("select :a"), "StatementError code=cd3x"),
    "sqlite3": (
        lambda: sqlite3.connect(":memory:").execute(PERSONAL),
        "OperationalError sqlite_errorname=SQLITE_ERROR",
    ),
    "psycopg, unique": (lambda: of_psycopg("23505"), "UniqueViolation sqlstate=23505"),
    "psycopg, syntax": (lambda: of_psycopg("42601"), "SyntaxError sqlstate=42601"),
    "psycopg, connection string": (lambda: make_conninfo(PERSONAL), "ProgrammingError"),
    "psycopg within SQLAlchemy": (of_psycopg_in_sqlalchemy, "IntegrityError code=gkpj"),
    "openai 400": (
        lambda: of_openai(400, code="invalid_value", type="invalid_request_error"),
        "BadRequestError status_code=400 code=invalid_value",
    ),
    "openai 400, a person's code": (lambda: of_openai(400, code=PERSONAL), "BadRequestError status_code=400"),
    "openai 401": (lambda: of_openai(401), "AuthenticationError status_code=401"),
    "openai 503": (lambda: of_openai(503), "InternalServerError status_code=503"),
    "openai, no answer": (of_openai_connection, "APIConnectionError"),
    "aiohttp": (of_aiohttp, "ClientResponseError status=502"),
    "cryptography": (of_cryptography, "InvalidToken"),
    "cryptography, key": (lambda: Fernet(PERSONAL.encode()), "ValueError"),
    "vault": (
        lambda: Vault([Fernet.generate_key().decode()]).open(PERSONAL.encode()).reveal(),
        "Unreadable",
    ),
    "standardwebhooks": (
        lambda: Webhook("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").verify(PERSONAL, {"webhook-id": PERSONAL}),
        "WebhookVerificationError",
    ),
    "json": (lambda: json.loads(PERSONAL), "JSONDecodeError"),
    "utf-8": (lambda: PERSONAL.encode("latin-1").decode(), "UnicodeDecodeError"),
    "starlette": (lambda: URL(f"http://[{PERSONAL}").hostname, "ValueError"),
    "file": (lambda: open(PERSONAL), "FileNotFoundError errno=2"),  # noqa: PTH123, SIM115  # it is not there
}


def throw(error: Exception) -> None:
    raise error


@pytest.mark.parametrize(("fails", "shown"), SHOWN.values(), ids=SHOWN)
@pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")
def test_an_exception_is_its_class_status_and_code(fails: Callable[[], object], shown: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # each library has its own
        fails()
    text = reduced(caught.value)
    assert text.partition(" [")[0] == shown
    assert not leaks(text)


def test_the_cause_is_logged_as_briefly() -> None:
    with pytest.raises(sqlalchemy.exc.IntegrityError) as caught:
        of_psycopg_in_sqlalchemy()
    assert "<- UniqueViolation sqlstate=23505 [" in reduced(caught.value)
