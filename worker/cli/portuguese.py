"""Typer in Portuguese: its own headings and sentences are English and cannot be translated.

Typer imports its `rich_utils` (Markdown, Pygments, tracebacks) only to print a help or an error; so does this
module.
"""

import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

_Verb = TypeVar("_Verb", bound=Callable[..., Any])

_HELP = {
    "help": "Mostra esta ajuda.",
    "install_completion": "Instala neste shell o preenchimento com a tecla Tab.",
    "show_completion": "Mostra o que --install-completion instalaria.",
}


class Command(TyperCommand):
    """A command whose help is Portuguese."""

    def get_usage(self, ctx: Any) -> str:
        return _usage(super().get_usage(ctx))

    def get_params(self, ctx: Any) -> list[Any]:
        return _params(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _translate_rich_utils()
        super().format_help(ctx, formatter)


class Group(TyperGroup):
    """A group of commands whose help and usage errors are Portuguese."""

    def get_usage(self, ctx: Any) -> str:
        return _usage(super().get_usage(ctx))

    def get_params(self, ctx: Any) -> list[Any]:
        return _params(super().get_params(ctx))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _translate_rich_utils()
        super().format_help(ctx, formatter)

    def make_context(self, *args: Any, **options: Any) -> Any:
        with _portuguese_errors():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        with _portuguese_errors():
            return super().invoke(ctx)


@contextlib.contextmanager
def _portuguese_errors() -> Iterator[None]:
    """Translate what Typer prints of an error before Typer receives it."""
    try:
        yield
    except typer.Exit:  # prints nothing
        raise
    except Exception:
        _translate_rich_utils()
        raise


def _usage(english: str) -> str:
    return re.sub("[{}]", "", english).replace("Usage:", "Uso:", 1)


def _params(params: list[Any]) -> list[Any]:
    """Give Typer's own options Portuguese help, and switches no value name."""
    for param in params:
        param.help = _HELP.get(param.name, param.help)
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params


class App(typer.Typer):
    """A Typer app whose commands all speak Portuguese."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            cls=Group,
            no_args_is_help=True,
            pretty_exceptions_enable=False,
            options_metavar="[OPÇÕES]",
            subcommand_metavar="COMANDO …",
            **options,
        )

    def command(self, name: str | None = None, *, epilog: str | None = None) -> Callable[[_Verb], _Verb]:  # type: ignore[override]  # fewer options
        """Typer's `command`, with Portuguese help."""
        return super().command(name, cls=Command, options_metavar="[OPÇÕES]", epilog=epilog)


def _complain(self: Any) -> None:
    """Replace Typer's error box by two lines: the problem, and the usage."""
    error, kind = self, type(self).__name__
    if kind == "NoArgsIsHelpError":  # the help was printed already
        return
    from rich.console import Console  # noqa: PLC0415  # as below

    console = Console(stderr=True, highlight=False)
    console.print(f"✗ {_sentence(kind, error)}", markup=False, soft_wrap=True)
    if error.ctx is not None:
        console.print(f"{error.ctx.get_usage()}   (--help explica)", markup=False, soft_wrap=True)


def _sentence(kind: str, error: Any) -> str:
    """The problem in Portuguese, from the fields of Typer's exception."""
    param = getattr(error, "param", None)
    hint = getattr(error, "param_hint", None) or (param.get_error_hint() if param else None)
    match kind:
        case "MissingParameter":
            return f"Falta {hint}."
        case "NoSuchOption":
            near = f"; talvez {', '.join(error.possibilities)}" if error.possibilities else ""
            return f"A opção {error.option_name} não existe{near}."
        case "BadOptionUsage":
            return f"O valor de {error.option_name} falta, ou sobra."
        case "BadParameter" if hint is None:  # raised by one of these commands, in Portuguese
            return str(error.message)
        case "BadParameter":
            return f"{hint} tem um valor inválido{_valid_values(param)}."
    return "Este comando não existe, ou tem palavras demais."


def _valid_values(param: Any) -> str:
    """What a parameter accepts, as far as its declaration says it."""
    if choices := getattr(getattr(param, "type_descriptor", None), "choices", None):
        return f"; use {' ou '.join(', '.join(map(str, choices)).rsplit(', ', 1))}"
    least, most = getattr(param, "min", None), getattr(param, "max", None)
    return "" if least is None or most is None else f"; use de {least:g} a {most:g}"


def _translate_rich_utils() -> None:
    from typer import rich_utils  # noqa: PLC0415  # most commands print neither help nor error

    rich_utils.ARGUMENTS_PANEL_TITLE = "Argumentos"
    rich_utils.OPTIONS_PANEL_TITLE = "Opções"
    rich_utils.COMMANDS_PANEL_TITLE = "Comandos"
    rich_utils.DEFAULT_STRING = "[padrão: {}]"
    rich_utils.REQUIRED_LONG_STRING = "[obrigatório]"
    rich_utils.ABORTED_TEXT = "Interrompido."
    rich_utils.rich_format_error = _complain
