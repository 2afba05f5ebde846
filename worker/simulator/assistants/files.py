"""Files of the simulated platform: uploaded images that messages refer to."""

from email import message_from_bytes
from email.message import Message
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from worker.simulator.assistants.runs import invalid_request, new_id
from worker.simulator.clock import Clock
from worker.simulator.faults import Handler

Json = dict[str, Any]

_PURPOSES = {"assistants", "vision"}


class Files:
    """Files by id, and the operations on them."""

    def __init__(self, clock: Clock) -> None:
        self.files: dict[str, Json] = {}
        self._clock = clock

    def operations(self) -> tuple[tuple[str, str, str, Handler], ...]:
        """Name, method, path and handler."""
        path = "/files/{file_id}"
        return (
            ("create_file", "POST", "/files", self._create),
            ("retrieve_file", "GET", path, self._retrieve),
            ("delete_file", "DELETE", path, self._delete),
        )

    def get(self, file_id: str) -> Json:
        """Raises `ApiError` 404."""
        if file_id not in self.files:
            raise invalid_request(f"No such File object: {file_id}", 404)
        return self.files[file_id]

    async def _create(self, request: Request) -> Response:
        fields = _multipart(request.headers.get("content-type", ""), await request.body())
        file, purpose = fields.get("file"), _text(fields.get("purpose"))
        if file is None or purpose not in _PURPOSES:
            raise invalid_request("Invalid file or purpose.", code="invalid_value")
        stored: Json = {
            "id": new_id("file"),
            "object": "file",
            "bytes": len(_content(file)),
            "created_at": int(self._clock.now()),
            "filename": file.get_filename() or "file",
            "purpose": purpose,
            "status": "processed",
        }
        self.files[stored["id"]] = stored
        return JSONResponse(stored)

    async def _retrieve(self, request: Request) -> Response:
        return JSONResponse(self.get(request.path_params["file_id"]))

    async def _delete(self, request: Request) -> Response:
        stored = self.get(request.path_params["file_id"])
        del self.files[stored["id"]]
        return JSONResponse({"id": stored["id"], "object": "file", "deleted": True})


def _multipart(content_type: str, body: bytes) -> dict[str, Message]:
    """The fields of a form by name."""
    form = message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    parts = form.get_payload() if form.is_multipart() else []
    fields = [part for part in parts if isinstance(part, Message)]
    return {str(part.get_param("name", header="content-disposition")): part for part in fields}


def _content(part: Message | None) -> bytes:
    content = part.get_payload(decode=True) if part is not None else b""
    return content if isinstance(content, bytes) else b""


def _text(part: Message | None) -> str:
    return _content(part).decode("utf-8", "replace").strip()
