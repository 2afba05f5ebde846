"""Every error of the HTTP API: `application/problem+json` (RFC 9457) with a stable `code` (contract §3).

Nothing a caller sent is ever repeated in a problem: a field is named, and what it must be.
"""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, NamedTuple

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from pydantic_core import PydanticCustomError
from starlette.exceptions import HTTPException

from worker import logs
from worker.errors import RequestRefused, StoreError
from worker.settings.messages import message
from worker.web.invalid import FieldProblem, InvalidField


class _Kind(NamedTuple):
    status: int
    title: str
    detail: str


PROBLEMS: Mapping[str, _Kind] = {
    "json_invalido": _Kind(400, "JSON inválido", "O corpo do pedido não é um JSON válido em UTF-8."),
    "assinatura_invalida": _Kind(
        400,
        "Assinatura inválida",
        "O webhook não foi assinado com OPENAI_WEBHOOK_SECRET, ou o horário dele não é de agora.",
    ),
    "nao_autorizado": _Kind(
        401, "Não autorizado", "Envie o API_TOKEN em Authorization: Bearer, ou como senha em HTTP Basic."
    ),
    "origem_recusada": _Kind(
        403, "Origem recusada", "Um pedido que altera dados não é aceito da página de outra origem."
    ),
    "host_recusado": _Kind(
        403, "Host recusado", "Sem API_TOKEN, use um endereço local, como 127.0.0.1 ou localhost."
    ),
    "nao_encontrado": _Kind(404, "Não encontrado", "Não há nada com este endereço ou identificador."),
    "conversa_desconhecida": _Kind(
        404, "Conversa desconhecida", "Registre a conversa com PUT /v1/conversations/{conversation_id}."
    ),
    "metodo_nao_permitido": _Kind(
        405, "Método não permitido", "Este endereço existe, mas não atende este método; veja Allow."
    ),
    "thread_em_uso": _Kind(409, "Thread em uso", "Este thread_id já pertence a outra conversa."),
    "execucao_de_outra_conversa": _Kind(
        409, "Execução de outra conversa", "Este run_id já foi registrado em outra conversa."
    ),
    "thread_diferente": _Kind(
        409, "Thread diferente", "Este thread_id não é o registrado na conversa ou na execução."
    ),
    "estado_incompativel": _Kind(409, "Estado incompatível", "O estado atual não permite isto; veja state."),
    "payload_expirado": _Kind(
        410,
        "Payload expirado",
        "O conteúdo desta chamada já foi apagado, pelo prazo de retenção ou a pedido do titular.",
    ),
    "corpo_grande_demais": _Kind(413, "Corpo grande demais", "O corpo do pedido pode ter no máximo 256 KiB."),
    "tipo_nao_suportado": _Kind(
        415, "Tipo não suportado", "Envie o corpo com Content-Type: application/json."
    ),
    "dados_invalidos": _Kind(422, "Dados inválidos", "Corrija os campos listados em errors."),
    "documento_invalido": _Kind(
        422,
        "Documento inválido",
        "O documento precisa ser um CPF ou CNPJ com dígitos verificadores corretos.",
    ),
    "identificador_invalido": _Kind(
        422, "Identificador inválido", "Corrija os identificadores listados em errors."
    ),
    "thread_ausente": _Kind(
        422, "Thread ausente", "Esta plataforma precisa do thread_id: envie-o aqui ou registre-o na conversa."
    ),
    "id_de_outra_plataforma": _Kind(
        422, "Id de outra plataforma", "Este run_id é de uma plataforma diferente da configurada em PLATFORM."
    ),
    "limite_excedido": _Kind(
        429, "Limite excedido", "Houve autenticações recusadas demais deste endereço; espere e tente de novo."
    ),
    "erro_interno": _Kind(
        500, "Erro interno", "O pedido não foi concluído por um erro do servidor, que foi registrado no log."
    ),
    "indisponivel": _Kind(
        503, "Indisponível", "O serviço não pode atender agora; tente de novo em instantes."
    ),
}


class Problem(BaseModel):
    """Um erro, na forma da RFC 9457; programas decidem por `code`."""

    type: str = Field(examples=["about:blank"])
    title: str
    status: int
    detail: str
    code: str = Field(json_schema_extra={"enum": [*sorted(PROBLEMS)]})
    call_id: str | None = Field(None, description="Só em 409: a chamada que impede o pedido, se é outra.")
    errors: list[FieldProblem] | None = Field(None, description="Só em 422: um item por campo a corrigir.")


def wrong(message: str, code: str = "dados_invalidos") -> PydanticCustomError:
    """An error for validators: a Portuguese sentence about the value, and the problem's code."""
    return PydanticCustomError(code, "{message}", {"message": message})


class _ProblemResponse(JSONResponse):
    media_type = "application/problem+json"


def problem(
    code: str,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
    *,
    call_id: str | None = None,
) -> Response:
    """The answer for `code`. Raises `KeyError` for a code that contract §3 does not know."""
    body = _body(code)
    if call_id is not None:
        body |= {"detail": f"A chamada {call_id} abre, ou abriu, este mesmo ticket.", "call_id": call_id}
    if errors:
        body["errors"] = [error.model_dump() for error in errors]
    busy = {"Retry-After": "1"} if code == "indisponivel" else {}
    return _ProblemResponse(body, PROBLEMS[code].status, {**busy, **(headers or {})})


def _body(code: str) -> dict[str, Any]:
    kind = PROBLEMS[code]
    return {
        "type": "about:blank",
        "title": kind.title,
        "status": kind.status,
        "detail": kind.detail,
        "code": code,
    }


def refusals(*codes: str) -> dict[int | str, dict[str, Any]]:
    """The problems an operation may answer with, for FastAPI's `responses`: one entry per status."""
    found: dict[int | str, dict[str, Any]] = {}
    for code in codes:
        kind = PROBLEMS[code]
        content: dict[str, Any] = {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}
        entry = found.setdefault(
            kind.status, {"description": kind.title, "content": {_ProblemResponse.media_type: content}}
        )
        entry["content"][_ProblemResponse.media_type]["examples"][code] = {"value": _body(code)}
    return found


# --------------------------------------------------------------------------------------- errors to answers

_CODE_OF_STATUS = {400: "json_invalido", 404: "nao_encontrado"}


async def _refused(_: Request, error: RequestRefused) -> Response:
    errors = [error.problem] if isinstance(error, InvalidField) else []
    return problem(error.code, errors, call_id=error.call_id)


async def _store_failed(_: Request, error: StoreError) -> Response:
    logs.failure("❌ [HTTP] O banco de dados não atendeu um pedido", error)
    return problem("indisponivel")


async def _http_error(_: Request, error: HTTPException) -> Response:
    return problem(_CODE_OF_STATUS.get(error.status_code, "erro_interno"), headers=error.headers)


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    """Answer an invalid request with the code that all its fields share, else with `dados_invalidos`."""
    found = error.errors()
    if any(item["type"] == "json_invalid" for item in found):
        return problem("json_invalido")
    codes = {item["type"] if item["type"] in PROBLEMS else "dados_invalidos" for item in found}
    return problem(codes.pop() if len(codes) == 1 else "dados_invalidos", [_field(item) for item in found])


def _field(item: Mapping[str, Any]) -> FieldProblem:
    """One invalid field: its path, without the part of the request, and what it must be."""
    where = ".".join(str(part) for part in item["loc"][1:]) or "body"
    return FieldProblem(field=where, message=message(item))


HANDLERS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    RequestRefused: _refused,
    StoreError: _store_failed,
    RequestValidationError: _invalid,
    HTTPException: _http_error,
}
"""FastAPI's `exception_handlers`. `middleware.SafeResponses` catches every other exception."""
