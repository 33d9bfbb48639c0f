"""Parses server-sent events as they arrive. Pure.

Source: HTML living standard, sections 9.2.5 and 9.2.6. ``retry`` is ignored: the feed decides when it connects again.
"""

from dataclasses import dataclass, field

from hilum.foundation.kernel.errors import Unavailable

EVENT_BOUND = 256 * 1024
"""Bytes of one event; the platform sends none that is longer."""
_BOM = b"\xef\xbb\xbf"
_KEPT = frozenset({"event", "id"})


@dataclass(frozen=True, slots=True)
class Message:
    """The lines between two empty lines. A message without ``data`` is not an event, but its ``id`` counts."""

    event: str = ""
    data: str = ""
    id: str = ""


@dataclass(slots=True)
class Parser:
    """A parser that accepts chunks of any size."""

    _rest: bytes = b""
    _after_cr: bool = False
    _begun: bool = False
    _fields: dict[str, str] = field(default_factory=dict)
    _size: int = 0

    def take(self, chunk: bytes) -> list[Message]:
        """Return the messages that a chunk completes. Raises Unavailable for one that is too long."""
        # A CR LF may be divided between two chunks.
        if self._after_cr and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r")
        lines = (self._rest + chunk).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        # The last line may be incomplete.
        self._rest = lines.pop()
        found = []
        for line in lines:
            if not self._begun:
                # One byte order mark is allowed at the very beginning.
                self._begun, line = True, line.removeprefix(_BOM)
            if line:
                self._field(line)
            elif message := self._end():
                found.append(message)
        self._bound(len(self._rest))
        return found

    def _field(self, line: bytes) -> None:
        self._size += len(line)
        self._bound(0)
        name, _, value = line.decode(errors="replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data" and "data" in self._fields:
            self._fields["data"] += f"\n{value}"
        # An id with NUL is ignored, as the standard requires; comments have an empty name.
        elif name == "data" or (name in _KEPT and "\0" not in value):
            self._fields[name] = value

    def _end(self) -> Message | None:
        given, self._fields, self._size = self._fields, {}, 0
        return Message(**given) if given else None

    def _bound(self, more: int) -> None:
        if self._size + more > EVENT_BOUND:
            raise Unavailable("platform_unavailable", "The platform's stream cannot be read.")
