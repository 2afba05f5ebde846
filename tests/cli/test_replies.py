"""`replies list`: what was found, when and where; never the text (contract §10)."""

import json

from tests.cli.rig import CliRig
from tests.store.harness import Rig
from worker.model import ReplySource
from worker.replies import Code


async def _found(rig: Rig) -> None:
    await rig.store.replies.record("c1", "run_1", ReplySource.RUN, [Code.NO_TICKET, Code.UNKNOWN_PROTOCOLO])
    await rig.store.replies.record("c1", None, ReplySource.API, [])


def test_suspect_replies_are_listed_and_clean_ones_are_not(cli_rig: CliRig) -> None:
    cli_rig.daemon(_found)
    listed = cli_rig.run("replies", "list").stdout
    (line,) = (line for line in listed.splitlines() if "run_1" in line)
    for shown in ("c1", "run", "ticket_nao_aberto"):
        assert shown in line
    (item,) = json.loads(cli_rig.run("replies", "list", "--json").stdout)["items"]
    assert item["codes"] == ["ticket_nao_aberto", "protocolo_desconhecido"]
    assert (item["run_id"], item["source"]) == ("run_1", "run")


def test_a_list_since_a_moment_to_come_is_empty(cli_rig: CliRig) -> None:
    cli_rig.daemon(_found)
    later = cli_rig.run("replies", "list", "--since", "2099-01-01T00:00:00-03:00")
    assert later.stdout == "Nada encontrado.\n"
