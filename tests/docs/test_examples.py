"""The documents' examples run as printed: with a worker process and the simulators, on loopback."""

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import httpx
import pytest

from tests.docs.pages import ROOT, block
from tests.system.daemon import free_port, launched
from worker.catalog.opening_hours import DAYS
from worker.simulator.crm import CrmSimulator
from worker.simulator.lineup import LINEUP
from worker.simulator.server import serve

README, GUIDE = "README.md", "docs/bot-guide.md"
WORKER, PLATFORM, CRM, BOT = 8080, 8100, 8101, 9000
"""The ports that the documents print."""

SOLVED = "Minha internet voltou! Obrigado"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MODELS = {"ASSISTANT_ID": "assistants", "AGENT_ID": "agents"}


async def output_of(script: str, folder: Path, ports: Mapping[int, int], **environ: str) -> str:
    """What a script prints when it is run with the ports of this test; every command must succeed."""
    script = with_ports(script, ports)
    process = await asyncio.create_subprocess_exec(
        *("bash", "-ec", script),
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    return output.decode()


def with_ports(script: str, ports: Mapping[int, int]) -> str:
    """The script with each port that a document prints replaced by this test's."""
    return re.sub(r"127\.0\.0\.1:(\d+)", lambda printed: f"127.0.0.1:{ports[int(printed[1])]}", script)


async def settings_exported(folder: Path, ports: Mapping[int, int]) -> dict[str, str]:
    """The settings that the README exports before `make run`; this interpreter stands in for `.venv`."""
    command = folder / ".venv/bin/ticket-worker"
    command.parent.mkdir(parents=True)
    command.write_text(f"#!/bin/sh\nPYTHONPATH='{ROOT}' exec '{sys.executable}' -m worker \"$@\"\n")
    command.chmod(0o700)
    exports = block(README, "bash", "export PLATFORM=")
    environ = await output_of(exports.replace("make run", "env -0"), folder, ports)
    values = dict(entry.split("=", 1) for entry in environ.split("\0") if entry)
    return {name: values[name] for name in re.findall(r"\b([A-Z_]+)=", exports)}


@dataclass(frozen=True)
class Rig:
    """A worker between a simulated platform and a simulated CRM, and terminals beside them."""

    crm: CrmSimulator
    folder: Path
    ports: Mapping[int, int]
    environ: Mapping[str, str]

    async def terminal(self, script: str) -> str:
        """What a script prints in this folder."""
        return await output_of(script, self.folder, self.ports, **self.environ)

    async def answered_call(self, conversation: str) -> dict[str, Any]:
        """The conversation's newest call, once its answer was submitted."""
        url = f"http://127.0.0.1:{self.ports[WORKER]}/v1/calls"
        async with asyncio.timeout(30), httpx.AsyncClient() as http:
            while True:
                calls = (await http.get(url, params={"conversation": conversation})).json()["items"]
                if calls and calls[0]["submitted_at"]:
                    return dict(calls[0])
                await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def rig(
    folder: Path, platform: str = "assistants", *, token: str = "", **settings: str
) -> AsyncIterator[Rig]:
    """Everything that the README starts in terminals 1 and 2; with a token, the API asks for it."""
    crm = CrmSimulator()
    async with serve(LINEUP[platform].fast_simulator().app) as platform_url, serve(crm.app) as crm_url:
        ports = {PLATFORM: port_of(platform_url), CRM: port_of(crm_url), BOT: free_port()}
        exported = await settings_exported(folder, ports)
        ours = {"PLATFORM": platform, "API_TOKEN": token, "POLL_MIN_S": "0.05", "POLL_MAX_S": "0.2"}
        placed = {name: with_ports(value, ports) for name, value in settings.items()}
        async with launched(folder, exported | ours | placed) as worker:
            await worker.ready()
            environ = {"API_TOKEN": token} if token else {}
            yield Rig(crm, folder, {**ports, WORKER: port_of(worker.url)}, environ)


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


def needs(program: str) -> None:
    """Skips on a machine that has only Python and make."""
    if not shutil.which(program):
        pytest.skip(f"{program} is not installed: this example was NOT run")


# ------------------------------------------------------------------------------------------------- requests


@pytest.mark.parametrize("page", [README, GUIDE])
async def test_curl_hands_a_run_over_and_the_log_greps_count_its_ticket(tmp_path: Path, page: str) -> None:
    needs("curl")
    async with rig(tmp_path) as home:
        await home.terminal(
            block(README, "bash", "/threads/runs") + block(page, "bash", "/v1/conversations/")
        )
        call = await home.answered_call("whatsapp-1")
        for greps_on in ("docs/commands.md", "docs/operating.pt-BR.md"):
            greps = block(greps_on, "bash", 'grep "🎫').replace("grep ", "grep -c ")
            counts = await home.terminal(f"set +e\n{greps}true")  # grep exits with 1 when it counts 0
            assert counts.split() == ["1", "0", "1", "0"]
    assert [ticket.protocolo for ticket in home.crm.tickets] == [call["protocolo"]]


async def test_the_simulated_crm_is_down_as_often_as_it_was_asked_to_be(tmp_path: Path) -> None:
    needs("curl")
    async with rig(tmp_path) as home:
        await home.terminal(block("docs/quickstart.md", "bash", "/_sim/faults"))
        await home.terminal(
            block(README, "bash", "/threads/runs") + block(README, "bash", "/v1/conversations/")
        )
        call = await home.answered_call("whatsapp-1")
    assert call["attempts"] == 3


async def test_what_an_operator_asks_the_api_is_answered(tmp_path: Path) -> None:
    needs("curl")
    async with rig(tmp_path) as home:
        answers = await home.terminal(block("docs/operating.pt-BR.md", "bash", "/v1/calls?state="))
    assert answers == 5 * '{"items":[],"next_cursor":null}'


# ----------------------------------------------------------------------------------------------------- bots


@dataclass(frozen=True)
class Language:
    """How the guide's bot is saved and run in one language."""

    name: str
    suffix: str
    command: str

    def saved(self, folder: Path, *holding: str) -> None:
        """Save the guide's blocks that begin with these names, as their first lines say."""
        for each in holding:
            code = block(GUIDE, self.name, f" {each}\n")
            name = each.partition(",")[0]
            (folder / name.replace(".mts", self.suffix)).write_text(self.runnable(code), encoding="utf-8")

    def runnable(self, code: str) -> str:
        """The block as it stands; for a Node that reads no types, without them."""
        return without_types(code) if self.suffix == ".mjs" else code


def without_types(code: str) -> str:
    """TypeScript of this guide as JavaScript: annotations, `as` and `!` left out."""
    types = r"(?:\(instrucao: string\) => Promise<string>|string \| null|string|object|any|Promise<any>)"
    code = re.sub(rf"\??: {types}(?=[,)=; {{])", "", code)
    code = re.sub(rf" as {types}(?=[; }}),])", "", code)
    return code.replace("_SECRET!.", "_SECRET.").replace(".mts", ".mjs")


def language(name: str) -> Language:
    if name == "python":
        return Language(name, ".py", f"'{sys.executable}'")
    needs("node")
    reads_types = subprocess.run(
        ("node", "-p", "process.features.typescript ?? ''"), capture_output=True, check=True, text=True
    ).stdout.strip()
    return Language(name, ".mts" if reads_types not in {"", "false"} else ".mjs", "node")


def exports_of(platform: str) -> str:
    """The line of terminal 3, and what names the assistant on this platform."""
    line = block(README, "bash", "/threads/runs").splitlines()[1]
    ids = {name: LINEUP[each].assistants["SUPORTE"] for name, each in MODELS.items() if each == platform}
    model = {"MODEL": "gpt-6-astra"} if platform == "responses" else ids
    return f"{line}\nexport " + " ".join(f"{name}={value}" for name, value in model.items())


@pytest.mark.parametrize("platform", sorted(LINEUP))
@pytest.mark.parametrize("name", ["python", "ts"])
async def test_the_guides_bot_tells_the_customer_the_protocolo_on_every_platform(
    tmp_path: Path, name: str, platform: str
) -> None:
    written = language(name)
    suffix = ".py" if name == "python" else ".mts"
    written.saved(tmp_path, f"bot{suffix}", f"my_platform{suffix}, on {platform}")
    async with rig(tmp_path, platform, token="s3gr3do") as home:
        tools = f"PLATFORM={platform} .venv/bin/ticket-worker sync-schema --out tools.json >/dev/null\n"
        said = f"printf '%s\\n' '{SOLVED}' '{SOLVED}' | {written.command} bot{written.suffix}"
        script = exports_of(platform) + "\n" + (tools if platform == "responses" else "") + said
        first, second = (await home.terminal(script)).splitlines()
    (ticket,) = home.crm.tickets
    assert ticket.protocolo in first
    assert ticket.protocolo in second


ASKING = {
    "python": """
from replies import SAFE, checked
told = []
def again(instrucao):
    told.append(instrucao)
    return "Posso abrir um chamado para você?" if HONEST else "Abri o seu chamado."
text = checked("whatsapp-1", "run_1", "Abri o seu chamado.", again)
print(text == SAFE, len(told), told[0].startswith("Nenhum ticket"), text)
""",
    "ts": """
import { checked } from "./replies.mts";
const told = [];
const text = await checked("whatsapp-1", "run_1", "Abri o seu chamado.", async (instrucao) => {
  told.push(instrucao);
  return HONEST ? "Posso abrir um chamado para você?" : "Abri o seu chamado.";
});
console.log(text.startsWith("Desculpe"), told.length, told[0].startsWith("Nenhum ticket"), text);
""",
}


@pytest.mark.parametrize(
    ("honest", "printed"),
    [(1, "false 1 true posso abrir um chamado para você?"), (0, "true 2 true desculpe")],
)
@pytest.mark.parametrize("name", ["python", "ts"])
async def test_the_guides_check_sends_no_lie(tmp_path: Path, name: str, honest: int, printed: str) -> None:
    """The model gets the instruction and answers again, at most twice; a liar's reply is never sent."""
    written = language(name)
    written.saved(tmp_path, "replies.py" if name == "python" else "replies.mts")
    asking = written.runnable(ASKING[name].replace("HONEST", str(honest)))
    (tmp_path / f"ask{written.suffix}").write_text(asking, encoding="utf-8")
    async with rig(tmp_path, token="s3gr3do") as home:
        announced = 'curl -s -X PUT -H "Authorization: Bearer $API_TOKEN" -H "Content-Type: application/json"'
        said = await home.terminal(
            f"export WORKER_URL=http://127.0.0.1:{WORKER}\n"
            f"{announced} -d '{{}}' $WORKER_URL/v1/conversations/whatsapp-1 > /dev/null\n"
            f"{written.command} ask{written.suffix}\n"
        )
    assert said.lower().startswith(printed)


@pytest.mark.parametrize("name", ["python", "ts"])
async def test_the_guides_receiver_verifies_an_event_and_refuses_a_forged_one(
    tmp_path: Path, name: str
) -> None:
    needs("curl")
    written = language(name)
    suffix = ".py" if name == "python" else ".mts"
    written.saved(tmp_path, f"events{suffix}")
    events = f"http://127.0.0.1:{BOT}/events"
    async with rig(tmp_path, BOT_WEBHOOK_URL=events, BOT_WEBHOOK_SECRET=SECRET) as home:
        receiver = tmp_path / f"events{written.suffix}"
        port = str(home.ports[BOT])
        receiver.write_text(receiver.read_text(encoding="utf-8").replace(str(BOT), port), encoding="utf-8")
        hand_over = block(README, "bash", "/threads/runs") + block(README, "bash", "/v1/conversations/")
        printed = await home.terminal(
            f"export BOT_WEBHOOK_SECRET={SECRET}\n"
            f"{written.command} events{written.suffix} > events.txt & receiver=$!\n"
            "trap 'kill $receiver' EXIT\n"
            f"until curl -s -o /dev/null {events}; do sleep 0.05; done\n"
            f"({hand_over}) > /dev/null\n"
            "until [ $(wc -l < events.txt) -ge 2 ]; do sleep 0.05; done\n"
            f"curl -s -o /dev/null -w '%{{http_code}}\\n' {events} -H 'webhook-id: msg_1' "
            "-H \"webhook-timestamp: $(date +%s)\" -H 'webhook-signature: v1,AAAA' -d '{}'\n"
            "cat events.txt\n"
        )
    (ticket,) = home.crm.tickets
    refused, opened, ended = printed.splitlines()
    assert refused == "400"
    assert opened == f"ticket.opened whatsapp-1 {ticket.protocolo} bot"
    assert ended == "run.ended whatsapp-1 - bot"


NIGHT = """
setores: {FINANCEIRO: [INFORMAR PAGAMENTO]}
departamentos: [financeiro, técnico]
atendimento: {técnico: ["%s 08:00-18:00"]}
"""
"""The financeiro is always open; the técnico, a whole day or more away from it, is not."""


def night(folder: Path) -> str:
    """A catalogue whose técnico is closed whenever the test runs; its path."""
    path = folder / "catalogo.yaml"
    weekday = (datetime.now(ZoneInfo("America/Sao_Paulo")).weekday() + 2) % 7
    path.write_text(NIGHT % DAYS[weekday], encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", ["python", "ts"])
async def test_the_guides_receiver_lives_through_the_whole_life_of_a_hand_off(
    tmp_path: Path, name: str
) -> None:
    needs("curl")
    written = language(name)
    written.saved(tmp_path, "events.py" if name == "python" else "events.mts")
    events = f"http://127.0.0.1:{BOT}/events"
    own = {"BOT_WEBHOOK_URL": events, "BOT_WEBHOOK_SECRET": SECRET, "HANDOFF_SLA_S": "0.2"}
    async with asyncio.timeout(60), rig(tmp_path, CATALOG_FILE=night(tmp_path), **own) as home:
        receiver = tmp_path / f"events{written.suffix}"
        port = str(home.ports[BOT])
        receiver.write_text(receiver.read_text(encoding="utf-8").replace(str(BOT), port), encoding="utf-8")
        start, announce = block(README, "bash", "/threads/runs"), block(GUIDE, "bash", "/v1/conversations/")
        closed = block(GUIDE, "bash", "/v1/handoffs").replace("/return", "/close")

        def asks(words: str) -> str:
            return f"({start.replace('Enviei o comprovante', words)}{announce}) > /dev/null\n"

        def until(lines: int) -> str:
            return f"until [ $(wc -l < events.txt) -ge {lines} ]; do sleep 0.05; done\n"

        printed = await home.terminal(
            f"export BOT_WEBHOOK_SECRET={SECRET} WORKER_URL=http://127.0.0.1:{WORKER}\n"
            f"{written.command} events{written.suffix} > events.txt & receiver=$!\n"
            "trap 'kill $receiver' EXIT\n"
            f"until curl -s -o /dev/null {events}; do sleep 0.05; done\n"
            'json=(-H "Content-Type: application/json")\n'
            f"{asks('Quero um atendente')}{until(3)}"
            f"({block(GUIDE, 'bash', '/v1/handoffs')}) > /dev/null\n{until(5)}"
            f"{asks('Quero um atendente')}{until(8)}({closed}) > /dev/null\n{until(10)}"
            f"{asks('Preciso que um técnico venha')}{until(12)}"
            "cat events.txt\n"
        )
    lines = [line.split() for line in printed.splitlines()]
    assert {conversation for _, conversation, *_ in lines} == {"whatsapp-1"}
    seen = [(kind, when if kind == "handoff.requested" else "-", who) for kind, _, when, who in lines]
    handoffs = [each for each in seen if each[0] != "run.ended"]
    once = ["handoff.requested", "handoff.overdue", "handoff.accepted"]
    assert [kind for kind, _, _ in handoffs] == [*once, "handoff.returned", *once, "handoff.closed", once[0]]
    attended_to = [number for number, (_, _, who) in enumerate(handoffs) if who == "person"]
    assert attended_to == [2, 6]  # from each acceptance until what follows it
    assert [when for kind, when, _ in handoffs if kind == once[0]][:2] == ["-", "-"]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT08:00:00-03:00", handoffs[-1][1])
