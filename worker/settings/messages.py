"""What pydantic finds wrong, as Portuguese sentences without the value: for settings and for the HTTP API."""

from collections.abc import Mapping
from typing import Any

_WORDS = {
    "missing": "é obrigatório",
    "string_type": "precisa ser um texto",
    "model_attributes_type": "precisa ser um objeto JSON",
    "float_parsing": "precisa ser um número",
    "int_parsing": "precisa ser um número inteiro",
    "bool_parsing": "precisa ser true ou false",
    "finite_number": "precisa ser um número finito",
    "greater_than": "precisa ser maior que {gt:g}",
    "greater_than_equal": "precisa ser no mínimo {ge:g}",
    "less_than_equal": "precisa ser no máximo {le:g}",
    "literal_error": "precisa ser um destes: {expected}",
    "enum": "precisa ser um destes: {expected}",
}


def message(error: Mapping[str, Any]) -> str:
    """The sentence for one entry of `ValidationError.errors()`; our own validators bring theirs."""
    context = dict(error.get("ctx", {}))
    if "message" in context:
        return str(context["message"])
    if "expected" in context:
        context["expected"] = str(context["expected"]).replace(" or ", " ou ")
    return _WORDS.get(error["type"], "tem um valor inválido").format(**context)
