"""A name server that answers for TXT records. It really speaks DNS, over UDP on loopback (dnspython)."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dns import message, rcode, rdataclass, rdatatype, rrset
from dns.rdtypes.ANY.TXT import TXT

HOST = "127.0.0.1"
STRING_BOUND = 255
"""Bytes of one string of a record. Longer texts are of several."""


@dataclass
class NameServer:
    """``records``: the texts of each name. ``broken``: it answers that it failed. ``asked``: the names of all questions."""

    address: tuple[str, int]
    records: dict[str, list[str]] = field(default_factory=dict)
    broken: bool = False
    asked: list[str] = field(default_factory=list)

    def answer(self, wire: bytes) -> bytes:
        query = message.from_wire(wire)
        response = message.make_response(query)
        (question,) = query.question
        name = question.name.to_text(omit_final_dot=True).lower()
        self.asked.append(name)
        if self.broken:
            response.set_rcode(rcode.SERVFAIL)
        elif texts := self.records.get(name):
            found = [TXT(rdataclass.IN, rdatatype.TXT, _strings(each.encode())) for each in texts]
            response.answer.append(rrset.from_rdata(question.name, 60, *found))
        else:
            response.set_rcode(rcode.NXDOMAIN)
        return response.to_wire()


def _strings(text: bytes) -> list[bytes]:
    return [text[at : at + STRING_BOUND] for at in range(0, len(text), STRING_BOUND)] or [b""]


@contextmanager
def name_server() -> Iterator[NameServer]:
    """Answer questions at a port of loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held:
        held.bind((HOST, 0))
        made = NameServer(held.getsockname())

        def serve() -> None:
            while (received := held.recvfrom(65_535))[0]:
                wire, source = received
                held.sendto(made.answer(wire), source)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield made
        finally:
            # An empty datagram ends it.
            held.sendto(b"", made.address)
            thread.join(5)
