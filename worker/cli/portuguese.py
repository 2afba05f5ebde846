"""Typer in Portuguese, whose own headings and sentences are English and have no translation."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

import typer
from rich.console import Console
from typer import rich_utils
from typer.core import TyperCommand, TyperGroup

_Verb = TypeVar("_Verb", bound=Callable[..., Any])

_HELP = {
    "help": "Mostra esta ajuda.",
    "install_completion": "Instala neste shell o preenchimento com a tecla Tab.",
    "show_completion": "Mostra o que --install-completion instalaria.",
}
_SENTENCES = {
    r"Missing command\.": "Falta o comando.",
    r"Missing (?:argument|option) (.+)\.": r"Falta \1.",
    r"No such command (.+?)\. .*?('[^?]+').*": r"O comando \1 não existe; talvez \2.",
    r"No such command (.+)\.": r"O comando \1 não existe.",
    r"No such option: (\S+) .*?(-[^)?]+).*": r"A opção \1 não existe; talvez \2.",
    r"No such option: (\S+)": r"A opção \1 não existe.",
    r"Got unexpected extra argument\S* \((.+)\)": r"Sobra na linha de comando: \1",
    r"Option (.+) (?:requires an argument|does not take a value)\.": r"O valor de \1 falta, ou sobra.",
    r"Invalid value for (.+?): (?:Value error, )?.+ is not one of (.+)": r"\1 precisa ser um destes: \2",
    r"Invalid value for (.+?): .*greater than or equal to (\S+)": r"\1 precisa ser no mínimo \2.",
    r"Invalid value for (.+?): .*less than or equal to (\S+)": r"\1 precisa ser no máximo \2.",
    r"Invalid value for (.+?): .*valid integer.*": r"\1 precisa ser um número inteiro.",
    r"Invalid value for (.+?): .*": r"\1 tem um valor inválido.",
    r"Invalid value: (.+)": r"\1",
}


class Command(TyperCommand):
    """A command whose help is Portuguese."""

    def get_usage(self, ctx: Any) -> str:
        return _usage(super().get_usage(ctx))

    def get_params(self, ctx: Any) -> list[Any]:
        return _params(super().get_params(ctx))


class Group(TyperGroup):
    """A group of commands whose help is Portuguese."""

    def get_usage(self, ctx: Any) -> str:
        return _usage(super().get_usage(ctx))

    def get_params(self, ctx: Any) -> list[Any]:
        return _params(super().get_params(ctx))


def _usage(english: str) -> str:
    return re.sub("[{}]", "", english).replace("Usage:", "Uso:", 1)


def _params(params: list[Any]) -> list[Any]:
    """Typer's own options speak as ours do, and a switch has no value to name."""
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
        """As Typer's."""
        return super().command(name, cls=Command, options_metavar="[OPÇÕES]", epilog=epilog)


def sentence(english: str) -> str:
    """What Typer complains of, in Portuguese; as it is when it has no translation here."""
    for pattern, portuguese in _SENTENCES.items():
        if found := re.fullmatch(pattern, english, re.DOTALL):
            return found.expand(portuguese)
    return english


def _complain(self: Any) -> None:
    """In place of Typer's: one line that says what is wrong, one that says how it is meant."""
    if type(self).__name__ == "NoArgsIsHelpError":  # the help was printed already
        return
    console = Console(stderr=True, highlight=False)
    console.print(f"✗ {sentence(self.format_message())}", markup=False, soft_wrap=True)
    if self.ctx is not None:
        console.print(f"{self.ctx.get_usage()}   (--help explica)", markup=False, soft_wrap=True)


rich_utils.ARGUMENTS_PANEL_TITLE = "Argumentos"
rich_utils.OPTIONS_PANEL_TITLE = "Opções"
rich_utils.COMMANDS_PANEL_TITLE = "Comandos"
rich_utils.DEFAULT_STRING = "[padrão: {}]"
rich_utils.REQUIRED_LONG_STRING = "[obrigatório]"
rich_utils.ABORTED_TEXT = "Interrompido."
rich_utils.rich_format_error = _complain
