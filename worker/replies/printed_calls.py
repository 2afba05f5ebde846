"""Finds function calls, their JSON arguments and execution markers that were written as text."""

import re

_OUR_FUNCTIONS = r"abrir_ticket_crm|transferir_para_humano"
_ARGUMENT = r"setor|motivo|resumo|departamento|finalizar|documento"
_CALL_KEY = r"tool_calls?|function_call|function|arguments|parameters|recipient_name|tool_name|action_input"
_RUNNING = (
    r"execut\w*|executando|chamando|chamada|acionando|invocando|processando|rodando|usando"
    r"|fun[cç][aã]o|function|ferramenta|tool(?:_\w+)?|a[cç][aã]o|action|call|comando|system"
)
_DEED = (
    r"abr(?:ir|indo)|registr(?:ar|ando)|transfer(?:ir|indo)|encaminh(?:ar|ando)|cri(?:ar|ando)|ger(?:ar|ando)"
)

_PRINTED_CALLS = tuple(
    re.compile(source, re.IGNORECASE | re.MULTILINE)
    for source in (
        # Customers have no use for the name of a function, with or without arguments.
        rf"(?<![a-z0-9_])(?:{_OUR_FUNCTIONS})(?![a-z0-9_])",
        # consultar_sinal(onu="…"), emitir_boleto({…}), but not comprovante_pix(1).pdf
        r"(?<![a-z0-9_@/.])[a-z][a-z0-9]{1,30}(?:_[a-z0-9]{1,30}){1,6}\s?\(\s?(?:[{\"')]|[a-z_]{1,40}\s?[=:])",
        # {"setor": …}, {'motivo': …}, {setor: …}: arguments alone
        rf"[{{,]\s{{0,20}}[\"'“”]?(?:{_ARGUMENT})[\"'“”]?\s?:",
        rf"\"(?:{_ARGUMENT}|{_CALL_KEY})\"\s?:",
        # setor="COMERCIAL", motivo='UPGRADE'
        rf"(?<!\w)(?:{_ARGUMENT})\s?=\s?[\"'“]?\w",
        # [EXECUTO: …], [função: …], {{abrir ticket}}, <tool_call>, (executando abrir ticket)
        rf"\[\s?(?:{_RUNNING})(?!\w)",
        rf"[\[<{{]{{1,2}}\s?/?(?:{_DEED})[ _-]",
        rf"[\[<{{]{{1,2}}\s?/?(?:{_DEED})\s?[\]>}}]",
        rf"\(\s?(?:{_RUNNING})(?!\w)[^()\n]{{0,60}}(?:fun[cç][aã]o|tool|ferramenta|_\w|{_DEED})",
        r"</?\|?(?:invoke|parameter|function|tool|call|antml)[\w:=|-]{0,60}",
        r"```\s?(?:tool|function)",
        r"(?<!\w)(?:functions|default_api|tools)\.[a-z]\w",
        r"^[ \t*]{0,20}(?:action|action input|tool|function|tool_call)[ *]?:\s?\w",
    )
)

_LONGEST_CALL = 4000
"""Characters within which a call that spans lines must close its brackets."""


def printed_calls(text: str) -> list[tuple[int, int]]:
    """Where calls, arguments and markers stand (code points, end exclusive), in order and without overlap."""
    starts = sorted(match.start() for rule in _PRINTED_CALLS for match in rule.finditer(text))
    spans: list[tuple[int, int]] = []
    covered = 0
    all_closed = True
    for start in starts:
        if start < covered:
            continue
        begin = _opening(text, start, covered)
        line_end = _line_end(text, start)
        # After one call that never closes its brackets, looking for the end of each would be quadratic.
        closed = _closing(text, begin, line_end) if all_closed else line_end
        all_closed = all_closed and closed is not None
        covered = closed or line_end
        # Lines that follow each other are one call, spread over them.
        if spans and not text[spans[-1][1] : begin].strip():
            begin = spans.pop()[0]
        spans.append((begin, covered))
    return spans


def _opening(text: str, start: int, covered: int) -> int:
    """The bracket on its line that encloses the match, else the match itself."""
    earliest = max(covered, text.rfind("\n", covered, start) + 1, start - 200)
    brackets = [text.rfind(bracket, earliest, start) for bracket in "{[(<"]
    return max(brackets) if max(brackets) >= 0 else start


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _closing(text: str, begin: int, line_end: int) -> int | None:
    """Where the brackets that a call opens are closed, not before the end of its line; None if nowhere."""
    depth = sum((char in "({[") - (char in ")}]") for char in text[begin:line_end])
    if depth <= 0:
        return line_end
    for place, char in enumerate(text[line_end : begin + _LONGEST_CALL], line_end):
        depth += (char in "({[") - (char in ")}]")
        if depth <= 0:
            return place + 1
    return None
