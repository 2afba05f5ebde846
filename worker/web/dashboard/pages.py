"""The dashboard's lists and single things, each at an address of its own; nothing personal is on them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

from fastapi import Request, Response
from fastapi.responses import RedirectResponse

from worker.errors import RequestRefused
from worker.model import CallState, EventState, RunState
from worker.store.personal_data.access_log import CHAT
from worker.views import CallFilter, CallView, Cursor, HandoffView, ReplyView, RunFilter, RunSummary
from worker.web.dashboard.rendering import html
from worker.web.dependencies import Services
from worker.web.invalid import InvalidField
from worker.web.pagination import cursor_text, parse_cursor, parse_since

_PAGE = 50
_LONGEST = 256

_Filter = TypeVar("_Filter")

_CALLS = (
    *("state", "since", "until", "conversation", "protocolo"),
    *("run_id", "platform_call_id", "tool", "setor", "motivo"),
)
_RUNS = ("state", "reason", "since", "until", "conversation")
_EVENTS = ("state", "conversation")

_KINDS: Mapping[type, str] = {CallView: "call", RunSummary: "run", HandoffView: "handoff", ReplyView: "reply"}


@dataclass(frozen=True, slots=True)
class _Query:
    """The query of the address: the fields of the filter as typed, and where the page begins."""

    texts: Mapping[str, str]
    cursor: Cursor | None

    @classmethod
    def of(cls, request: Request, names: tuple[str, ...]) -> "_Query":
        """Raises `InvalidField`: a parameter that does not exist, or an unreadable cursor."""
        parameters = {name: value[:_LONGEST] for name, value in request.query_params.items() if value}
        if not parameters.keys() <= {*names, "cursor"}:
            raise InvalidField("endereço", "tem um filtro que não existe")
        cursor = parse_cursor(parameters["cursor"]) if "cursor" in parameters else None
        return cls({name: parameters.get(name, "") for name in names}, cursor)

    def value(self, name: str) -> str | None:
        return self.texts[name] or None

    def address(self, path: str, cursor: Cursor | None) -> str | None:
        """The next page's."""
        if cursor is None:
            return None
        return f"{path}?{urlencode(self._filters() | {'cursor': cursor_text(cursor) or ''})}"

    def text(self) -> str:
        filters = self._filters()
        return f"?{urlencode(filters)}" if filters else ""

    def _filters(self) -> dict[str, str]:
        return {name: value for name, value in self.texts.items() if value}


class Pages:
    """Every page but the first."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._store = services.store

    # ---------------------------------------------------------------------------------------------- lists

    async def calls(self, request: Request) -> Response:
        """Calls by filter, page by page."""
        query, problem = self._read(request, _CALLS)
        which, problem = self._judged(query, self._call_filter, CallFilter(), problem)
        found, following = (
            ((), None)
            if problem
            else await self._store.records.calls(which, limit=_PAGE, cursor=query.cursor)
        )
        return self._html(
            "calls_list.html",
            problem,
            calls=found,
            values=query.texts,
            query=query.text(),
            following=query.address("calls", following),
        )

    async def runs(self, request: Request) -> Response:
        """Runs by filter, page by page."""
        query, problem = self._read(request, _RUNS)
        which, problem = self._judged(query, self._run_filter, RunFilter(), problem)
        found, following = (
            ((), None) if problem else await self._store.records.runs(which, limit=_PAGE, cursor=query.cursor)
        )
        address = query.address("runs", following)
        return self._html("runs_list.html", problem, runs=found, values=query.texts, following=address)

    async def events(self, request: Request) -> Response:
        """Events for the bot by filter, page by page."""
        query, problem = self._read(request, _EVENTS)
        state, problem = self._judged(query, _event_state, None, problem)
        found, following = (
            ((), None)
            if problem
            else await self._store.events.list(
                state=state, conversation_id=query.value("conversation"), limit=_PAGE, cursor=query.cursor
            )
        )
        return self._html(
            "events_list.html",
            problem,
            events=found,
            values=query.texts,
            bot=self._services.setup.bot,
            following=query.address("events", following),
        )

    def _read(self, request: Request, names: tuple[str, ...]) -> tuple[_Query, str]:
        try:
            return _Query.of(request, names), ""
        except InvalidField as error:
            return _Query(dict.fromkeys(names, ""), None), _sentence(error)

    def _judged(
        self, query: _Query, read: Callable[[_Query], _Filter], nothing: _Filter, problem: str
    ) -> tuple[_Filter, str]:
        try:
            return read(query), problem
        except InvalidField as error:
            return nothing, problem or _sentence(error)

    def _moment(self, query: _Query, name: str) -> float | None:
        text = query.value(name)
        services = self._services
        return None if text is None else parse_since(text, services.zone, services.now(), name)

    def _call_filter(self, query: _Query) -> CallFilter:
        return CallFilter(
            state=_member(CallState, query.value("state")),
            since=self._moment(query, "since"),
            until=self._moment(query, "until"),
            conversation_id=query.value("conversation"),
            protocolo=query.value("protocolo"),
            run_id=query.value("run_id"),
            platform_call_id=query.value("platform_call_id"),
            tool=query.value("tool"),
            setor=query.value("setor"),
            motivo=query.value("motivo"),
        )

    def _run_filter(self, query: _Query) -> RunFilter:
        return RunFilter(
            state=_member(RunState, query.value("state")),
            reason=query.value("reason"),
            since=self._moment(query, "since"),
            until=self._moment(query, "until"),
            conversation_id=query.value("conversation"),
        )

    # ------------------------------------------------------------------------------------- single things

    async def call(self, request: Request, call_id: str) -> Response:
        """One call with everything that happened to it."""
        try:
            call = await self._store.records.call(call_id)
        except RequestRefused:
            return self._missing("../")
        try:
            await self._store.operators.retryable(call_id)
            retriable = True
        except RequestRefused:
            retriable = False
        return self._html("call.html", "", root="../", call=call, retriable=retriable)

    async def conversation(self, request: Request, written: str) -> Response:
        """Everything of one conversation, by its id or by what the log writes for it."""
        query, _ = self._read(request, ())
        conversation_id = await self._conversation_id(written)
        happenings, following = await self._store.histories.of(
            conversation_id, limit=_PAGE, cursor=query.cursor
        )
        entries = [
            {"at": each.at, "key": each.key, "what": each.what, "kind": _KINDS.get(type(each.what), "event")}
            for each in happenings
        ]
        return self._html(
            "conversation.html",
            "",
            root="../",
            conversation_id=conversation_id,
            happenings=entries,
            linked=self._services.setup.conversation_url is not None,
            following=query.address(quote(written, safe=""), following),
        )

    async def chat(self, request: Request, written: str) -> Response:
        """Lead to the conversation in the bot's own chat; who went there is in the access log."""
        template = self._services.setup.conversation_url
        if template is None:
            return self._missing("../../")
        conversation_id = await self._conversation_id(written)
        await self._store.accesses.enter(request.state.reader, f"{CHAT}{conversation_id}")
        address = template.replace("{conversation_id}", quote(conversation_id, safe=""))
        return RedirectResponse(address, 303)

    async def _conversation_id(self, written: str) -> str:
        try:
            return await self._store.records.conversation_id(written)
        except RequestRefused:
            return written  # erased since: the record still has its calls

    # --------------------------------------------------------------------------------------------- search

    async def search(self, request: Request, q: str = "") -> Response:
        """Lead to what was searched for: a call, a conversation, a run, or the calls of a protocolo."""
        text = q.strip()[:_LONGEST]
        address = await self._found(text) if text else "calls"
        return self._missing("") if address is None else RedirectResponse(address, 303)

    async def _found(self, text: str) -> str | None:
        records = self._store.records
        if (
            address := await self._address_of_calls(CallFilter(protocolo=text), {"protocolo": text})
        ) is not None:
            return address
        lookups = (
            (records.call, f"calls/{quote(text, safe='')}"),
            (records.conversation_id, f"conversations/{quote(text, safe='')}"),
            (records.run_summary, f"calls?{urlencode({'run_id': text})}"),
        )
        for look_up, address in lookups:
            try:
                await look_up(text)
                return address
            except RequestRefused:
                continue
        return await self._address_of_calls(CallFilter(platform_call_id=text), {"platform_call_id": text})

    async def _address_of_calls(self, which: CallFilter, query: Mapping[str, str]) -> str | None:
        """The address of the only call of a filter, or of the list of several."""
        calls, _ = await self._store.records.calls(which, limit=2)
        if not calls:
            return None
        return f"calls/{calls[0].call_id}" if len(calls) == 1 else f"calls?{urlencode(query)}"

    async def help(self) -> Response:
        """The runbooks."""
        return self._html("help.html", "")

    def _missing(self, root: str) -> Response:
        return html("missing.html", self._services.zone, self._services.now(), status=404, root=root)

    def _html(self, template: str, problem: str, **values: Any) -> Response:
        status = 422 if problem else 200
        zone, now = self._services.zone, self._services.now()
        return html(template, zone, now, status=status, problem=problem, **values)


def _event_state(query: _Query) -> EventState | None:
    return _member(EventState, query.value("state"))


def _member(states: Callable[[str], _Filter], text: str | None) -> _Filter | None:
    try:
        return None if text is None else states(text)
    except ValueError:
        raise InvalidField("Estado", "não existe") from None


_LABELS = {"since": "Desde", "until": "Até", "cursor": "A página"}


def _sentence(error: InvalidField) -> str:
    field = error.problem.field
    return f"{_LABELS.get(field, field.capitalize())} {error.problem.message}."
