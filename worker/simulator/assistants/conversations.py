"""The operations on threads, messages, runs and steps of the simulated Assistants API."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from worker.simulator.assistants import wire
from worker.simulator.assistants.bodies import (
    NewMessage,
    NewRun,
    NewThread,
    NewThreadAndRun,
    ToolOutputs,
    read,
)
from worker.simulator.assistants.files import Files
from worker.simulator.assistants.registry import Registry
from worker.simulator.assistants.runs import Message, Run, Thread, Timings, invalid_request
from worker.simulator.clock import Clock
from worker.simulator.faults import Handler
from worker.simulator.script import Script, script_for


class Conversations:
    """Threads by id, and the operations on them. `script` and `timings` apply to runs created later."""

    def __init__(
        self, registry: Registry, files: Files, clock: Clock, script: Script, timings: Timings
    ) -> None:
        self.threads: dict[str, Thread] = {}
        self.script = script
        self.timings = timings
        self._registry = registry
        self._files = files
        self._clock = clock

    def operations(self) -> tuple[tuple[str, str, str, Handler], ...]:
        """Name, method, path and handler."""
        thread = "/threads/{thread_id}"
        run = f"{thread}/runs/{{run_id}}"
        return (
            ("list_threads", "GET", "/threads", self._list_threads),
            ("create_thread", "POST", "/threads", self._create_thread),
            ("create_thread_and_run", "POST", "/threads/runs", self._create_thread_and_run),
            ("retrieve_thread", "GET", thread, self._retrieve_thread),
            ("delete_thread", "DELETE", thread, self._delete_thread),
            ("list_messages", "GET", f"{thread}/messages", self._list_messages),
            ("create_message", "POST", f"{thread}/messages", self._create_message),
            ("list_runs", "GET", f"{thread}/runs", self._list_runs),
            ("create_run", "POST", f"{thread}/runs", self._create_run),
            ("retrieve_run", "GET", run, self._retrieve_run),
            ("submit_tool_outputs", "POST", f"{run}/submit_tool_outputs", self._submit),
            ("cancel_run", "POST", f"{run}/cancel", self._cancel),
            ("list_steps", "GET", f"{run}/steps", self._list_steps),
        )

    def run(self, run_id: str) -> Run:
        """A run in its current state, for tests and the demo. Raises `KeyError`."""
        for thread in self.threads.values():
            thread.advance(self._clock.now())
            for run in thread.runs:
                if run.id == run_id:
                    return run
        raise KeyError(run_id)

    # ------------------------------------------------------------------------------- threads and messages

    def _thread(self, request: Request) -> Thread:
        thread_id = request.path_params["thread_id"]
        if thread_id not in self.threads:
            raise invalid_request(f"No thread found with id '{thread_id}'.", 404)
        thread = self.threads[thread_id]
        thread.advance(self._clock.now())
        return thread

    def _new_thread(self, body: NewThread) -> Thread:
        thread = Thread(self._clock.now(), body.metadata or {})
        self.threads[thread.id] = thread
        for message in body.messages:
            self._add_message(thread, message)
        return thread

    def _add_message(self, thread: Thread, body: NewMessage) -> Message:
        for file_id in body.images():
            self._files.get(file_id)
        message = Message(
            thread.id,
            body.role,
            body.parts(),
            self._clock.now(),
            attachments=body.attachments or [],
            metadata=body.metadata or {},
        )
        thread.messages.append(message)
        return message

    async def _create_thread(self, request: Request) -> Response:
        return JSONResponse(wire.thread(self._new_thread(read(NewThread, await request.body()))))

    async def _list_threads(self, request: Request) -> Response:
        """Only Foundry lists threads, and only Foundry's requests carry an `api-version`."""
        if "api-version" not in request.query_params:
            raise invalid_request("Invalid URL (GET /threads)", 404)
        return JSONResponse(wire.page([*self.threads.values()], request.query_params, wire.thread))

    async def _retrieve_thread(self, request: Request) -> Response:
        return JSONResponse(wire.thread(self._thread(request)))

    async def _delete_thread(self, request: Request) -> Response:
        thread = self._thread(request)
        del self.threads[thread.id]
        return JSONResponse({"id": thread.id, "object": "thread.deleted", "deleted": True})

    async def _list_messages(self, request: Request) -> Response:
        run_id = request.query_params.get("run_id")
        messages = [m for m in self._thread(request).messages if run_id in {None, m.run_id}]
        return JSONResponse(wire.page(messages, request.query_params, wire.message))

    async def _create_message(self, request: Request) -> Response:
        body = read(NewMessage, await request.body())
        thread = self._thread(request)
        if active := thread.active_run(self._clock.now()):
            raise invalid_request(f"Can't add messages to {thread.id} while a run {active.id} is active.")
        return JSONResponse(wire.message(self._add_message(thread, body)))

    # ---------------------------------------------------------------------------------------------- runs

    def _run(self, request: Request) -> Run:
        run_id = request.path_params["run_id"]
        for run in self._thread(request).runs:
            if run.id == run_id:
                return run
        raise invalid_request(f"No run found with id '{run_id}'.", 404)

    def _start(self, thread: Thread, body: NewRun | NewThreadAndRun) -> Run:
        settings = body.settings(self._registry.get(body.assistant_id))
        script = script_for(body.assistant_id, self.script)
        run = Run(thread, body.assistant_id, settings, self.timings, script, self._clock.now())
        thread.runs.append(run)
        return run

    async def _create_run(self, request: Request) -> Response:
        body = read(NewRun, await request.body())
        thread = self._thread(request)
        if active := thread.active_run(self._clock.now()):
            raise invalid_request(f"Thread {thread.id} already has an active run {active.id}.")
        run = self._start(thread, body)
        for message in body.additional_messages or []:
            self._add_message(thread, message)
        return JSONResponse(wire.run(run))

    async def _create_thread_and_run(self, request: Request) -> Response:
        body = read(NewThreadAndRun, await request.body())
        self._registry.get(body.assistant_id)
        return JSONResponse(wire.run(self._start(self._new_thread(body.thread), body)))

    async def _list_runs(self, request: Request) -> Response:
        return JSONResponse(wire.page(self._thread(request).runs, request.query_params, wire.run))

    async def _retrieve_run(self, request: Request) -> Response:
        run = self._run(request)
        hint = run.timings.poll_after_ms
        headers = {"openai-poll-after-ms": str(hint)} if hint and run.active else None
        return JSONResponse(wire.run(run), headers=headers)

    async def _submit(self, request: Request) -> Response:
        body = read(ToolOutputs, await request.body())
        run = self._run(request)
        run.submit([(output.tool_call_id, output.output) for output in body.tool_outputs], self._clock.now())
        return JSONResponse(wire.run(run))

    async def _cancel(self, request: Request) -> Response:
        run = self._run(request)
        run.cancel(self._clock.now())
        return JSONResponse(wire.run(run))

    async def _list_steps(self, request: Request) -> Response:
        run = self._run(request)
        return JSONResponse(wire.page(run.steps, request.query_params, wire.step(run)))
