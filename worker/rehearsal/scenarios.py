"""Scenarios: what a customer says, under which circumstances, and what the assistant is expected to do.

They are YAML, one list. Every problem of a file is reported at once, each with its line.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import yaml

from worker import tools
from worker.catalog import Catalog, fold
from worker.errors import ConfigError
from worker.model import ToolKind
from worker.personal import Personal
from worker.privacy import parse_document

_Value = TypeVar("_Value")

SHIPPED = Path(__file__).parent / "cenarios.yaml"
"""The scenarios that come with the worker."""

RECEIPT = "comprovante.png"
"""The name of the shipped receipt image, beside the shipped scenarios."""

MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
"""The images that every platform takes, by the file's suffix."""

_NAME_MAX = 64

_OTHER_CATALOGUE = (
    "Os cenários incluídos são os do catálogo incluído: para o de CATALOG_FILE, escreva os seus e use "
    "--scenarios"
)


def functions() -> Mapping[str, ToolKind]:
    """The functions that a rehearsal answers, which are the worker's own, and what each does."""
    return {tool.name: tool.kind for tool in tools.TOOLS}


class CrmState(StrEnum):
    """How the CRM of a scenario behaves."""

    OK = "ok"
    DOWN = "fora_do_ar"
    NO_PROTOCOLO = "sem_protocolo"


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the customer: a text, an image, or both."""

    text: str = ""
    image: Path | None = None
    #: From this turn on, the conversation has this document on file.
    document: Personal | None = None


@dataclass(frozen=True, slots=True)
class ExpectedCall:
    """A call that must be made. An empty tuple accepts any value."""

    function: tuple[str, ...]
    setor: tuple[str, ...] = ()
    motivo: tuple[str, ...] = ()
    departamento: tuple[str, ...] = ()
    #: The call may be made, and need not be.
    optional: bool = False

    def __str__(self) -> str:
        """As the report names it: `abrir_ticket_crm FINANCEIRO / PAGAMENTO`."""
        values = " / ".join(" ou ".join(names) for names in (self.setor, self.motivo) if names)
        values = values or " ou ".join(self.departamento)
        text = " ".join(filter(None, (" ou ".join(self.function), values)))
        return f"{text} (opcional)" if self.optional else text


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must happen. None: not checked."""

    #: In any order, and no others. An empty tuple: no call at all.
    calls: tuple[ExpectedCall, ...] | None = None
    #: Functions that must not be called, not even in vain.
    never: tuple[str, ...] = ()
    #: Whether the last reply has the protocolo of the ticket that was opened.
    protocolo: bool | None = None
    #: What the last reply contains: of each entry one spelling, whatever the case and the accents.
    contains: tuple[tuple[str, ...], ...] = ()
    #: What it does not contain.
    lacks: tuple[str, ...] = ()

    def forbids(self, function: str) -> bool:
        """Whether no call of this function is accepted."""
        if function in self.never:
            return True
        return self.calls is not None and all(function not in call.function for call in self.calls)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One conversation to be played."""

    name: str
    assistant: str
    turns: tuple[Turn, ...]
    expected: Expectation
    #: The customer's document when the conversation begins; None: none on file.
    document: Personal | None = None
    crm: CrmState = CrmState.OK
    #: The rule that the scenario comes from.
    source: str = ""


def load(path: Path | None, catalog: Catalog) -> tuple[Scenario, ...]:
    """The scenarios of a file, the shipped ones by default. Raises `ConfigError` with every problem."""
    path = path or SHIPPED
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} não pôde ser lido ({type(error).__name__})") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{path}, linha {line}: não é YAML válido ({error.problem})") from None
    except yaml.YAMLError:
        raise ConfigError(f"{path} não é YAML válido") from None
    reader = _Reader(path, catalog)
    scenarios = reader.scenarios(root)
    if reader.problems:
        hint = [_OTHER_CATALOGUE] if path == SHIPPED else []
        raise ConfigError(*(text for _, text in sorted(reader.problems)), *hint)
    return scenarios


def choose(
    scenarios: Sequence[Scenario], names: Sequence[str], assistants: Sequence[str]
) -> tuple[Scenario, ...]:
    """The scenarios with these names, of these assistants; no names or assistants mean all.

    Raises `ConfigError` for a name that no scenario has, and for an assistant that none is for.
    """
    problems = [
        f"--scenario {name} não existe; veja os nomes com --list"
        for name in names
        if fold(name) not in {fold(each.name) for each in scenarios}
    ]
    problems += [
        f"--assistant {name}: nenhum cenário é deste assistente"
        for name in assistants
        if fold(name) not in {fold(each.assistant) for each in scenarios}
    ]
    if problems:
        raise ConfigError(*problems)
    by_name, by_assistant = set(map(fold, names)), set(map(fold, assistants))
    chosen = [
        each
        for each in scenarios
        if (not by_name or fold(each.name) in by_name)
        and (not by_assistant or fold(each.assistant) in by_assistant)
    ]
    if not chosen:
        raise ConfigError("Nenhum cenário atende a --scenario e --assistant ao mesmo tempo")
    return tuple(chosen)


# ----------------------------------------------------------------------------------------- reading a file

_SCENARIO = ("nome", "assistente", "cliente", "documento", "crm", "espera", "fonte")
_NEEDED = ("nome", "assistente", "cliente", "espera", "fonte")
_TURN = ("texto", "imagem", "documento")
_EXPECTATION = ("chamadas", "nunca", "resposta")
_CALL = ("funcao", "setor", "motivo", "departamento", "opcional")
_REPLY = ("protocolo", "contem", "nao_contem")

Fields = Mapping[str, yaml.Node]


@dataclass(slots=True)
class _Reader:
    """Reads YAML nodes, which know their lines, and collects what is wrong with them."""

    path: Path
    catalog: Catalog
    problems: list[tuple[int, str]] = field(default_factory=list)

    def scenarios(self, root: yaml.Node | None) -> tuple[Scenario, ...]:
        if not isinstance(root, yaml.SequenceNode) or not root.value:
            self.problems.append((1, f"{self.path}: é esperada uma lista de cenários"))
            return ()
        seen: dict[str, int] = {}
        return tuple(self._scenario(node, seen) for node in root.value)

    def _problem(self, node: yaml.Node, text: str) -> None:
        line = node.start_mark.line + 1
        self.problems.append((line, f"{self.path}, linha {line}: {text}"))

    # -------------------------------------------------------------------------------------- the scenario

    def _scenario(self, node: yaml.Node, seen: dict[str, int]) -> Scenario:
        fields = self._fields(node, "cenário", _SCENARIO, _NEEDED)
        return Scenario(
            name=self._name(fields, seen),
            assistant=self._text(fields, "assistente", limit=_NAME_MAX),
            turns=self._turns(fields),
            expected=self._expectation(fields),
            document=self._document(fields),
            crm=self._crm(fields),
            source=self._text(fields, "fonte"),
        )

    def _name(self, fields: Fields, seen: dict[str, int]) -> str:
        name = self._text(fields, "nome", limit=_NAME_MAX)
        if name:
            line = fields["nome"].start_mark.line + 1
            first = seen.setdefault(fold(name), line)
            if first != line:
                self._problem(fields["nome"], f'o nome "{name}" já é do cenário da linha {first}')
        return name

    def _turns(self, fields: Fields) -> tuple[Turn, ...]:
        node = fields.get("cliente")
        if node is None:
            return ()
        if not isinstance(node, yaml.SequenceNode) or not node.value:
            self._problem(node, "cliente precisa ser uma lista com ao menos uma mensagem")
            return ()
        return tuple(map(self._turn, node.value))

    def _turn(self, node: yaml.Node) -> Turn:
        if isinstance(node, yaml.ScalarNode):
            return Turn(self._scalar(node, "cliente"))
        fields = self._fields(node, "mensagem", _TURN)
        if fields and not {"texto", "imagem"} & fields.keys():
            self._problem(node, "uma mensagem precisa de texto ou de imagem")
        return Turn(self._text(fields, "texto"), self._image(fields), self._document(fields))

    def _image(self, fields: Fields) -> Path | None:
        name = self._text(fields, "imagem")
        if not name:
            return None
        path = self.path.parent / name
        if name == RECEIPT and not path.is_file():
            path = SHIPPED.parent / RECEIPT
        if path.suffix.lower() not in MEDIA_TYPES:
            self._problem(fields["imagem"], f"imagem precisa ser {', '.join(MEDIA_TYPES)}")
        elif not path.is_file():
            self._problem(fields["imagem"], f"a imagem {name} não existe em {path.parent}")
        return path

    def _document(self, fields: Fields) -> Personal | None:
        text = self._text(fields, "documento")
        document = parse_document(text) if text else None
        if text and document is None:
            self._problem(fields["documento"], "documento não é um CPF ou CNPJ válido; use um inventado")
        return document

    def _crm(self, fields: Fields) -> CrmState:
        node = fields.get("crm")
        text = self._text(fields, "crm") if node else CrmState.OK
        if text in list(CrmState):
            return CrmState(text)
        if node is not None and text:
            self._problem(node, f"crm precisa ser {', '.join(CrmState)}")
        return CrmState.OK

    # ----------------------------------------------------------------------------------- the expectation

    def _expectation(self, fields: Fields) -> Expectation:
        node = fields.get("espera")
        if node is None:
            return Expectation()
        expected = self._fields(node, "espera", _EXPECTATION)
        if isinstance(node, yaml.MappingNode) and not expected:
            self._problem(node, "espera precisa de chamadas, nunca ou resposta")
        reply = self._fields(expected["resposta"], "resposta", _REPLY) if "resposta" in expected else {}
        calls = self._calls(expected)
        never = self._names(expected, "nunca", self._function)
        for function in never:
            if any(function in call.function for call in calls or ()):
                self._problem(expected["nunca"], f"{function} está em chamadas e em nunca")
        return Expectation(
            calls=calls,
            never=never,
            protocolo=self._boolean(reply, "protocolo"),
            contains=self._alternatives(reply),
            lacks=self._names(reply, "nao_contem", lambda _node, text: text),
        )

    def _calls(self, expected: Fields) -> tuple[ExpectedCall, ...] | None:
        node = expected.get("chamadas")
        if node is None:
            return None
        if not isinstance(node, yaml.SequenceNode):
            self._problem(node, "chamadas precisa ser uma lista; [] quando nenhuma é esperada")
            return None
        return tuple(map(self._call, node.value))

    def _call(self, node: yaml.Node) -> ExpectedCall:
        fields = self._fields(node, "chamada", _CALL, ("funcao",))
        function = self._names(fields, "funcao", self._function)
        self._check_fields(fields, function)
        setor = self._names(fields, "setor", self._setor)
        return ExpectedCall(
            function=function,
            setor=setor,
            motivo=self._names(fields, "motivo", lambda node, text: self._motivo(node, text, setor)),
            departamento=self._names(fields, "departamento", self._departamento),
            optional=self._boolean(fields, "opcional") or False,
        )

    def _check_fields(self, fields: Fields, called: Collection[str]) -> None:
        """`setor` and `motivo` are a ticket's, `departamento` is a hand-off's."""
        kinds = {"setor": ToolKind.TICKET, "motivo": ToolKind.TICKET, "departamento": ToolKind.HANDOFF}
        for name, kind in kinds.items():
            owners = [function for function, its_kind in functions().items() if its_kind is kind]
            if name in fields and called and not set(owners) & set(called):
                self._problem(fields[name], f"{name} só existe em {' e '.join(owners)}")

    def _function(self, node: yaml.Node, text: str) -> str | None:
        if text in functions():
            return text
        self._problem(node, f'a função "{text}" não existe; use {", ".join(functions())}')
        return None

    def _setor(self, node: yaml.Node, text: str) -> str | None:
        setor = self.catalog.setor(text)
        if setor is None:
            self._problem(
                node, f'o setor "{text}" não está no catálogo{_near(self.catalog.setores.nearest(text))}'
            )
        return setor

    def _motivo(self, node: yaml.Node, text: str, setores: Collection[str]) -> str | None:
        """The motivo's exact spelling in one of these setores; no setor: in any."""
        among = [self.catalog.motivos[setor] for setor in setores or self.catalog.setores.names]
        for spellings in among:
            if motivo := spellings.match(text):
                return motivo
        near = next(filter(None, (spellings.nearest(text) for spellings in among)), None)
        of = f" do setor {' ou '.join(setores)}" if setores else " do catálogo"
        self._problem(node, f'o motivo "{text}" não é{of}{_near(near)}')
        return None

    def _departamento(self, node: yaml.Node, text: str) -> str | None:
        departamento = self.catalog.departamento(text)
        if departamento is None:
            near = _near(self.catalog.departamentos.nearest(text))
            self._problem(node, f'o departamento "{text}" não está no catálogo{near}')
        return departamento

    def _alternatives(self, reply: Fields) -> tuple[tuple[str, ...], ...]:
        """`contem`: a text, or a list whose entries are texts or lists of spellings."""
        node = reply.get("contem")
        if node is None:
            return ()
        entries = node.value if isinstance(node, yaml.SequenceNode) else [node]
        return tuple(tuple(self._listed(entry, "contem", lambda _node, text: text)) for entry in entries)

    # ------------------------------------------------------------------------------------- single values

    def _fields(
        self, node: yaml.Node, what: str, names: Collection[str], needed: Collection[str] = ()
    ) -> dict[str, yaml.Node]:
        """The values of a mapping by their names, each of which is one of `names`."""
        if not isinstance(node, yaml.MappingNode):
            self._problem(node, f"{what}: são esperados os campos {', '.join(names)}")
            return {}
        fields: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if key.value not in names:
                self._problem(key, f'{what}: o campo "{key.value}" não existe; use {", ".join(names)}')
            elif key.value in fields:
                self._problem(key, f'{what}: o campo "{key.value}" está repetido')
            else:
                fields[key.value] = value
        for name in needed:
            if name not in fields:
                self._problem(node, f'{what}: falta o campo "{name}"')
        return fields

    def _text(self, fields: Fields, name: str, *, limit: int | None = None) -> str:
        node = fields.get(name)
        text = self._scalar(node, name) if node is not None else ""
        if node is not None and limit is not None and len(text) > limit:
            self._problem(node, f"{name} tem mais de {limit} caracteres")
        return text

    def _scalar(self, node: yaml.Node, name: str) -> str:
        text = str(node.value).strip() if isinstance(node, yaml.ScalarNode) else ""
        if not text:
            self._problem(node, f"{name} precisa ser um texto")
        return text

    def _boolean(self, fields: Fields, name: str) -> bool | None:
        node = fields.get(name)
        if node is None:
            return None
        if node.tag != "tag:yaml.org,2002:bool":
            self._problem(node, f"{name} precisa ser true ou false")
            return None
        return node.value.lower() in {"true", "yes", "on"}

    def _names(
        self, fields: Fields, name: str, read: Callable[[yaml.Node, str], _Value | None]
    ) -> tuple[_Value, ...]:
        """A value, or the values of a list, each read on its own."""
        node = fields.get(name)
        return () if node is None else tuple(self._listed(node, name, read))

    def _listed(
        self, node: yaml.Node, name: str, read: Callable[[yaml.Node, str], _Value | None]
    ) -> Iterator[_Value]:
        entries = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if not entries:
            self._problem(node, f"{name} está vazio")
        for entry in entries:
            text = self._scalar(entry, name)
            value = read(entry, text) if text else None
            if value is not None:
                yield value


def _near(name: str | None) -> str:
    return f'; quis dizer "{name}"?' if name else ""
