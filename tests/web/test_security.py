"""Who may come in, how much at once, and how every answer leaves (contract §3)."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from ipaddress import ip_network
from typing import NoReturn

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from tests.asgi import api_over, calling
from tests.store.harness import Rig
from worker.errors import StoreError
from worker.store.store import Store
from worker.views import ConversationView
from worker.web.middleware import BodyLimit, ConcurrencyLimit, ForwardedClient, LoginThrottle, SafeResponses

TOKEN = "t0ken-ção"
JSON = {"Content-Type": "application/json"}


def code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


@pytest.fixture
async def api(sqlite_store: Store) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(api_over(sqlite_store)) as client:
        yield client


@pytest.fixture
async def guarded(sqlite_store: Store) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(api_over(sqlite_store, token=TOKEN)) as client:
        yield client


def bearer(token: str) -> dict[str, bytes]:
    return {"Authorization": f"Bearer {token}".encode()}


# -------------------------------------------------------------------------------------------------- token


async def test_the_token_comes_as_bearer_or_as_the_password_of_basic(guarded: httpx.AsyncClient) -> None:
    assert (await guarded.get("/v1/calls", headers=bearer(TOKEN))).status_code == 200
    assert (await guarded.get("/v1/calls", headers={"Authorization": basic("ana", TOKEN)})).status_code == 200
    assert (await guarded.get("/v1/calls", headers={"Authorization": basic("", TOKEN)})).status_code == 200


def basic(user: str, password: str) -> str:
    return "basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer errado",
        TOKEN.encode(),
        basic("ana", "errado"),
        basic(TOKEN, ""),
        "Basic !!!",
        "Basic ç".encode(),
        "Basic YQ",
        "Digest x",
    ],
)
async def test_anything_but_the_token_is_challenged(
    guarded: httpx.AsyncClient, authorization: str | bytes
) -> None:
    answer = await guarded.get("/v1/calls", headers={"Authorization": authorization})
    assert code(answer) == (401, "nao_autorizado")
    assert answer.headers.get_list("www-authenticate") == [
        'Basic realm="ticket-worker", charset="UTF-8"',
        'Bearer realm="ticket-worker"',
    ]


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/static/docs.js", "/nada", "/livez/", "/LIVEZ"])
async def test_only_the_probes_need_no_token(guarded: httpx.AsyncClient, path: str) -> None:
    assert (await guarded.get(path)).status_code == 401
    assert (await guarded.get("/livez")).status_code == 200
    assert (await guarded.get("/readyz")).status_code == 200


async def test_an_empty_token_is_no_token(sqlite_store: Store) -> None:
    async with calling(api_over(sqlite_store, token="")) as api:
        assert (await api.get("/v1/calls")).status_code == 200
        assert code(await api.get("/v1/calls", headers={"Host": "a.example"})) == (403, "host_recusado")


async def test_after_ten_wrong_tokens_an_address_has_to_wait_before_the_next(sqlite_store: Store) -> None:
    app = api_over(sqlite_store, token=TOKEN)
    async with calling(app) as api, calling(app, client=("10.0.0.9", 1)) as elsewhere:
        for _ in range(10):
            assert (await api.get("/v1/calls", headers=bearer("errado"))).status_code == 401
        answer = await api.get("/v1/calls", headers=bearer("errado"))
        assert code(answer) == (429, "limite_excedido")
        assert 0 < int(answer.headers["retry-after"]) <= 60
        assert code(await elsewhere.get("/v1/calls", headers=bearer("errado"))) == (401, "nao_autorizado")
        assert (await api.get("/livez")).status_code == 200


async def test_the_right_token_passes_whatever_its_address_has_tried(guarded: httpx.AsyncClient) -> None:
    for _ in range(20):
        await guarded.get("/v1/calls", headers=bearer("errado"))
    assert (await guarded.get("/v1/calls", headers=bearer(TOKEN))).status_code == 200
    assert code(await guarded.get("/v1/calls")) == (401, "nao_autorizado")


async def test_a_request_without_credentials_counts_for_nothing(guarded: httpx.AsyncClient) -> None:
    """Ten images on a web page must not keep a person out, nor the browser's own first try."""
    answers = [await guarded.get("/v1/calls") for _ in range(30)]
    assert {code(answer) for answer in answers} == {(401, "nao_autorizado")}
    assert code(await guarded.get("/v1/calls", headers=bearer("errado"))) == (401, "nao_autorizado")


async def test_successes_are_never_limited(guarded: httpx.AsyncClient) -> None:
    answers = [await guarded.get("/v1/calls", headers=bearer(TOKEN)) for _ in range(30)]
    assert {answer.status_code for answer in answers} == {200}


def test_an_address_may_try_again_when_its_oldest_failure_is_a_minute_old() -> None:
    time = 100.0
    failures = LoginThrottle(lambda: time)
    for second in range(10):
        time = 100.0 + second
        assert failures.wait_s("a") == 0
        failures.add("a")
    assert failures.wait_s("a") == 51
    time = 160.0
    assert failures.wait_s("a") == 0
    failures.add("a")
    assert failures.wait_s("a") == 1


def test_the_addresses_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LoginThrottle, "ADDRESSES", 2)
    failures = LoginThrottle(lambda: 0.0)
    for address in ["a", "b"]:
        for _ in range(10):
            failures.add(address)
    failures.add("a")
    failures.add("c")
    assert [failures.wait_s(address) > 0 for address in "abc"] == [True, False, False]


async def test_a_client_without_an_address_is_served(sqlite_store: Store) -> None:
    async with calling(api_over(sqlite_store, token=TOKEN), client=None) as api:
        assert (await api.get("/v1/calls", headers=bearer(TOKEN))).status_code == 200


# ---------------------------------------------------------------------------------------------- proxies


async def seen_address(client: tuple[str, int], *forwarded: str) -> str:
    """The caller's address behind the trusted proxies 10.0.0.0/8 and ::1."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["client"][0])

    layer = ForwardedClient(app, [ip_network("10.0.0.0/8"), ip_network("::1")])
    headers = [(b"x-forwarded-for", each.encode()) for each in forwarded]
    await layer({"type": "http", "client": client, "headers": headers}, _never, _never)
    return seen[0]


async def _never(*_: object) -> NoReturn:
    raise AssertionError


@pytest.mark.parametrize(
    ("client", "forwarded", "seen"),
    [
        ("10.0.0.9", ["203.0.113.7"], "203.0.113.7"),
        ("::1", ["203.0.113.7:5000"], "203.0.113.7"),
        ("10.0.0.9", ["[2001:DB8::7]:5000"], "2001:db8::7"),
        ("10.0.0.9", ["198.51.100.1, 203.0.113.7, 10.0.0.8"], "203.0.113.7"),
        ("10.0.0.9", ["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
        ("10.0.0.9", ["10.0.0.7"], "10.0.0.7"),
        ("10.0.0.9", [], "10.0.0.9"),
        ("10.0.0.9", [""], "10.0.0.9"),
        ("10.0.0.9", ["203.0.113.7, desconhecido"], "10.0.0.9"),
        ("10.0.0.9", ["203.0.113.7, \tana@exemplo.com "], "10.0.0.9"),
        ("192.0.2.1", ["203.0.113.7"], "192.0.2.1"),
    ],
)
async def test_a_forwarded_address_is_believed_of_a_trusted_proxy_only(
    client: str, forwarded: list[str], seen: str
) -> None:
    assert await seen_address((client, 1), *forwarded) == seen


async def test_by_default_no_forwarded_address_is_believed_even_from_loopback(sqlite_store: Store) -> None:
    async with calling(api_over(sqlite_store, token=TOKEN)) as api:
        for number in range(11):
            forged = {"X-Forwarded-For": f"203.0.113.{number}", **bearer("errado")}
            answer = await api.get("/v1/calls", headers=forged)
    assert code(answer) == (429, "limite_excedido")


# -------------------------------------------------------------------------------------- host and origin


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:9", "localhost:8080", "LOCALHOST", "[::1]:80", "[::1]", "127.8.8.8"]
)
async def test_without_a_token_a_loopback_host_is_served(api: httpx.AsyncClient, host: str) -> None:
    assert (await api.get("/v1/calls", headers={"Host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["a.example", "a.example:8080", "127.0.0.1.a.example", "localhost.a.example", "10.0.0.1", "", ":80"],
)
async def test_without_a_token_any_other_host_is_refused(api: httpx.AsyncClient, host: str) -> None:
    for path in ["/v1/calls", "/docs", "/livez"]:
        assert code(await api.get(path, headers={"Host": host})) == (403, "host_recusado")


async def test_with_a_token_any_host_is_served(guarded: httpx.AsyncClient) -> None:
    answer = await guarded.get("/v1/calls", headers={"Host": "tickets.example", **bearer(TOKEN)})
    assert answer.status_code == 200


OURS = "http://127.0.0.1:8080"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": OURS},
        {"Origin": "https://a.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://127.0.0.1:8081"},
        {"Origin": ""},
    ],
)
async def test_a_change_from_another_site_is_refused_and_a_read_is_not(
    api: httpx.AsyncClient, sqlite_store: Store, headers: dict[str, str]
) -> None:
    answer = await api.put("/v1/conversations/c", json={}, headers=headers)
    assert code(answer) == (403, "origem_recusada")
    assert code(await api.options("/v1/runs", headers=headers)) == (403, "origem_recusada")
    assert await Rig(sqlite_store).rows("conversations") == []
    assert (await api.get("/v1/calls", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://behind-a-proxy.example"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": OURS},
    ],
)
async def test_a_change_from_our_own_pages_or_from_a_program_is_served(
    api: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    assert (await api.put("/v1/conversations/c", json={}, headers=headers)).status_code == 201


# ------------------------------------------------------------------------------------------------ bodies


@pytest.mark.parametrize(
    "body", [b"{", b"{'a': 1}", b"\xff\xfe\xfd", b"[" * 100_000, b'{"a": ' + b"1" * 5000]
)
async def test_what_is_no_json_is_400(api: httpx.AsyncClient, body: bytes) -> None:
    answer = await api.put("/v1/conversations/c", content=body, headers=JSON)
    assert code(answer) == (400, "json_invalido")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "", "image/svg+json", "json"]
)
async def test_a_body_of_another_type_is_415(api: httpx.AsyncClient, content_type: str) -> None:
    answer = await api.put("/v1/conversations/c", content=b"{}", headers={"Content-Type": content_type})
    assert code(answer) == (415, "tipo_nao_suportado")


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/a+json"]
)
async def test_json_has_several_names(api: httpx.AsyncClient, content_type: str) -> None:
    answer = await api.put("/v1/conversations/c", content=b"{}", headers={"Content-Type": content_type})
    assert answer.status_code == 201


def padded(size: int) -> bytes:
    return b"{" + b" " * (size - 2) + b"}"


async def in_chunks(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), 60_000):
        yield body[start : start + 60_000]


@pytest.mark.parametrize("how", [bytes, in_chunks])
async def test_a_body_may_have_256_kib_and_not_a_byte_more(
    api: httpx.AsyncClient, how: Callable[[bytes], bytes | AsyncIterator[bytes]]
) -> None:
    async def put(size: int) -> httpx.Response:
        return await api.put("/v1/conversations/c", content=how(padded(size)), headers=JSON)

    assert (await put(BodyLimit.LIMIT)).status_code == 201
    assert code(await put(BodyLimit.LIMIT + 1)) == (413, "corpo_grande_demais")


async def test_a_caller_who_leaves_in_the_middle_of_a_body_is_not_answered(sqlite_store: Store) -> None:
    incoming = iter(
        [
            {"type": "http.request", "body": b'{"a', "more_body": True},
            {"type": "http.disconnect"},
        ]
    )
    sent: list[object] = []

    async def receive() -> dict[str, object]:
        return next(incoming)

    async def send(message: object) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "PUT",
        "path": "/v1/conversations/c",
        "raw_path": b"/v1/conversations/c",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
    }
    await api_over(sqlite_store)(scope, receive, send)
    assert sent == []
    assert await Rig(sqlite_store).rows("conversations") == []


# ------------------------------------------------------------------------------------------- too many


async def test_the_request_beyond_two_hundred_is_asked_to_come_back(
    api: httpx.AsyncClient, sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived, leave = asyncio.Barrier(ConcurrencyLimit.LIMIT + 1), asyncio.Event()

    conversation = sqlite_store.records.conversation

    async def late(conversation_id: str, *, reader: str) -> ConversationView:
        await arrived.wait()
        await leave.wait()
        return await conversation(conversation_id, reader=reader)

    monkeypatch.setattr(sqlite_store.records, "conversation", late)
    held = [asyncio.create_task(api.get("/v1/conversations/c")) for _ in range(ConcurrencyLimit.LIMIT)]
    await arrived.wait()
    answer = await api.get("/v1/calls")
    assert code(answer) == (503, "indisponivel")
    assert answer.headers["retry-after"] == "1"
    assert (await api.get("/livez")).status_code == 200
    leave.set()
    assert {answer.status_code for answer in await asyncio.gather(*held)} == {404}
    assert (await api.get("/v1/calls")).status_code == 200


# ------------------------------------------------------------------------------------------ every answer


async def test_what_does_not_exist_is_404(api: httpx.AsyncClient) -> None:
    for path in [
        "/v1",
        "/v1/runs/a/../../x",
        "/v1/calls/",
        "/redoc",
        "/static/",
        "/static/%2E%2E/api.py",
        "/%00",
    ]:
        assert code(await api.get(path)) == (404, "nao_encontrado")


async def test_a_wrong_method_is_405_and_says_which_are_right(api: httpx.AsyncClient) -> None:
    for path, allowed in [
        ("/v1/runs", "GET, HEAD, POST"),
        ("/v1/runs/a/dismiss", "DELETE, POST"),
        ("/v1/calls/retry", "POST"),
        ("/v1/conversations/c", "DELETE, GET, HEAD, PUT"),
        ("/livez", "GET, HEAD"),
        ("/static/docs.js", "GET, HEAD"),
    ]:
        answer = await api.patch(path)
        assert code(answer) == (405, "metodo_nao_permitido")
        assert answer.headers["allow"] == allowed


async def test_a_head_is_answered_like_its_get(api: httpx.AsyncClient) -> None:
    assert (await api.head("/livez")).status_code == 200
    assert (await api.head("/v1/calls/tc_9")).status_code == 404


@pytest.mark.parametrize(
    ("failure", "status", "expected"),
    [(RuntimeError, 500, "erro_interno"), (StoreError, 503, "indisponivel")],
)
async def test_an_error_tells_its_caller_nothing_and_the_log_only_where(
    *,
    api: httpx.AsyncClient,
    sqlite_store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failure: type[Exception],
    status: int,
    expected: str,
) -> None:
    async def fails(conversation_id: str, *, reader: str) -> ConversationView:
        raise failure("529.982.247-25 Maria")

    monkeypatch.setattr(sqlite_store.records, "conversation", fails)
    answer = await api.get("/v1/conversations/c")
    assert code(answer) == (status, expected)
    assert answer.headers["x-content-type-options"] == "nosniff"
    (line,) = capsys.readouterr().err.splitlines()
    assert "❌ [HTTP] " in line
    assert failure.__name__ in line
    assert "Maria" not in line + answer.text
    assert "529" not in line + answer.text


async def test_a_crash_after_the_answer_began_is_only_logged(capsys: pytest.CaptureFixture[str]) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError("Maria")

    async with calling(SafeResponses(app)) as client:
        with pytest.raises(AssertionError):  # httpx's transport: the answer was never completed
            await client.get("/")
    line = capsys.readouterr().err
    assert "ValueError" in line
    assert "Maria" not in line


async def test_every_answer_is_safe_to_show_and_never_stored(
    api: httpx.AsyncClient, guarded: httpx.AsyncClient
) -> None:
    for answer in [await api.get("/v1/calls"), await api.get("/nada"), await guarded.get("/v1/calls")]:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


async def test_the_docs_are_our_own_files(api: httpx.AsyncClient) -> None:
    page = await api.get("/docs")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self';" in page.headers["content-security-policy"]
    assert "//" not in page.text
    for path in ["docs.js", "swagger-ui/swagger-ui-bundle.js", "swagger-ui/swagger-ui.css"]:
        assert f"static/{path}" in page.text
        assert (await api.get(f"/static/{path}")).status_code == 200


async def test_a_scope_that_is_not_http_passes_every_layer_untouched(sqlite_store: Store) -> None:
    sent: list[dict[str, object]] = []
    events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])

    async def receive() -> dict[str, str]:
        return next(events)

    async def send(message: dict[str, object]) -> None:
        sent.append(message)

    await api_over(sqlite_store)({"type": "lifespan"}, receive, send)
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


# ------------------------------------------------------------------------------------ each bound, where it is


async def test_every_answer_has_each_of_the_safe_headers(api: httpx.AsyncClient) -> None:
    headers = (await api.get("/livez")).headers
    assert {name: headers.get(name) for name in SAFE} == SAFE


SAFE = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
}


@pytest.mark.parametrize("begun", [True, False])
async def test_a_crash_begins_an_answer_only_where_none_has_begun(begun: bool) -> None:
    sent: list[Message] = []

    async def crashes(scope: Scope, receive: Receive, send: Send) -> None:
        if begun:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    async def send(message: Message) -> None:
        sent.append(message)

    await SafeResponses(crashes)({"type": "http", "method": "GET", "headers": []}, _never, send)
    assert [each["status"] for each in sent if each["type"] == "http.response.start"] == [
        200 if begun else 500
    ]


def test_ten_thousand_addresses_are_remembered() -> None:
    failures = LoginThrottle(lambda: 0.0)
    for number in range(10_001):
        for _ in range(10 if number < 2 else 1):
            failures.add(str(number))
    assert [failures.wait_s(str(number)) > 0 for number in range(2)] == [False, True]


@pytest.mark.parametrize(
    "path", ["/v1/webhooks/openai/x", "/v1/webhooks/openai2", "/v1/webhooks", "/livez/x"]
)
async def test_what_begins_like_a_path_without_token_needs_one(guarded: httpx.AsyncClient, path: str) -> None:
    assert code(await guarded.get(path)) == (401, "nao_autorizado")


@pytest.mark.parametrize("junk", ["!", "*", " ", "-"])
async def test_a_basic_credential_with_other_characters_than_base64s_is_none(
    guarded: httpx.AsyncClient, junk: str
) -> None:
    whole = basic("ana", TOKEN)
    spoilt = whole[:12] + junk + whole[12:]
    answer = await guarded.get("/v1/calls", headers={"Authorization": spoilt})
    assert code(answer) == (401, "nao_autorizado")


@pytest.mark.parametrize(
    ("host", "origin"),
    [("API.example:8080", "http://api.example:8080"), ("api.example:8080", "HTTP://API.EXAMPLE:8080")],
)
async def test_host_and_origin_are_compared_whatever_their_case(
    guarded: httpx.AsyncClient, host: str, origin: str
) -> None:
    headers = {**bearer(TOKEN), "Host": host, "Origin": origin}
    assert (await guarded.put("/v1/conversations/c", headers=headers, json={})).status_code == 201


async def test_an_empty_sec_fetch_site_is_no_word_of_a_browser_that_trusts_the_page(
    api: httpx.AsyncClient,
) -> None:
    answer = await api.put("/v1/conversations/c", headers={"Sec-Fetch-Site": ""}, json={})
    assert code(answer) == (403, "origem_recusada")


async def test_a_token_is_compared_in_constant_time(
    guarded: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(given: bytes, right: bytes) -> bool:
        compared.append((given, right))
        return False

    monkeypatch.setattr("hmac.compare_digest", compare)
    assert code(await guarded.get("/v1/calls", headers=bearer("x"))) == (401, "nao_autorizado")
    assert compared == [(b"x", TOKEN.encode())]
