"""Checks what a reply tells the customer against what the ledger holds (contract §10). No I/O, no platform.

    from worker.replies.reading import read_reply

    reading = read_reply("Abri seu chamado: protocolo 2510271534789012")
    reading.candidates                        # {"2510271534789012"}: numbers to look up in the ledger
    facts = Facts(protocolos={"2510271534780000"}, ticket_opened=True)
    findings = reading.findings(facts)        # one finding: protocolo_desconhecido, 28 to 44
    instruction_for(findings)                 # what the model should do about it, in Portuguese

`text` splits a reply into words and sentences, `vocabulary` is the data, `rules` says which sentences make a
claim, `context` what undoes it, `numbers` which numbers are given as protocolos, and `printed_calls` finds
calls that were written as text.
"""

from worker.replies.findings import Code, Facts, Finding, Reading
from worker.replies.instructions import instruction_for

# Not `read_reply`: compiling its rules takes a quarter of a second, and most commands check no reply.
__all__ = ["Code", "Facts", "Finding", "Reading", "instruction_for"]
