"""A parser of HTTP/1.1 answers, fed with the pieces in which they arrive. Pure.

Strict where servers and proxies are known to disagree: an answer whose end is ambiguous is refused.
Source: RFC 9112 sections 4, 6 and 7; RFC 9110 section 15.2
"""

import re
from collections.abc import Callable, Collection
from functools import lru_cache

HEAD_BOUND = 64 * 1024
LINE_BOUND = 1024
"""Bytes of a chunk's first line, and of a line of the trailer."""
INTERIM_BOUND = 8
"""How many interim answers (1xx) may come before the answer."""
PIECES_BOUND = 2 * 1024
"""In how many pieces the heads of an answer may arrive: each piece makes the head be searched from its beginning."""
CHUNKS_BOUND = 64 * 1024
"""How many chunks a body may have: each costs time and memory, however small it is."""
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n\0]*)?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n\0]*)")
"""A pattern that also stripped blanks would backtrack, in cubic time for a line of blanks."""
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n\0]*)?")
_FRAMING = frozenset({"connection", "content-encoding", "content-length", "keep-alive", "transfer-encoding"})
LINES_KEPT, LINE_KEPT_BOUND = 4_096, 128
"""How many parsed lines of heads are cached, since servers repeat most of them, and up to how many bytes long."""
_IDLE = re.compile(r"\btimeout=([0-9]{1,6})\b")
_EMPTY = frozenset({204, 304})
Step = Callable[["AnswerReader"], bool]
"""Reads more of the buffer; returns whether the next step can run at once.

A plain function: a bound method would make the reader a reference cycle, and its body wait for the garbage collector.
"""


class Malformed(Exception):
    """The bytes received are not an HTTP/1.1 answer."""


class TooLarge(Exception):
    """The body exceeds its bound."""


def _read_status(line: bytes) -> tuple[int, bool]:
    """Parse a status line: the status, and whether the answer is of HTTP/1.0. Raises Malformed."""
    found = _STATUS_LINE.fullmatch(line)
    if found is None:
        raise Malformed("the status line")
    return int(found[2]), found[1] == b"0"


def _read_field(line: bytes) -> tuple[str, str]:
    """Parse a header line: the name, in lower case, and the value. Raises Malformed."""
    found = _FIELD.fullmatch(line)
    if found is None:
        raise Malformed("a header line")
    return found[1].decode().lower(), found[2].strip(b" \t").decode("latin-1")


_kept_status = lru_cache(LINES_KEPT)(_read_status)
_kept_field = lru_cache(LINES_KEPT)(_read_field)


class AnswerReader:
    """Reads one answer. ``feed`` and ``end`` return whether it is complete; then ``status``, ``headers`` and ``body`` are set.

    ``keep``: the names of the headers to return, in lower case; of a repeated one the first counts. ``bound``: bytes of the body.
    """

    __slots__ = ("_at", "_bound", "_buffer", "_chunks", "_interim", "_keep", "_left", "_parts", "_pieces", "_size", "_step", "headers", "idle_s", "keep_alive", "status")  # fmt: skip

    def __init__(self, keep: Collection[str], bound: int) -> None:
        self._keep, self._bound = keep, bound
        # ``_at`` is the first unread byte. Cutting off each chunk would copy the rest of the buffer, which takes
        # quadratic time if a server sends chunks of one byte, and would hold up the worker for every tenant.
        self._buffer, self._at = b"", 0
        self._parts: list[bytes] = []
        self._size = self._left = self._interim = self._chunks = self._pieces = 0
        self._step: Step = AnswerReader._read_head
        self.status = 0
        self.headers: dict[str, str] = {}
        self.keep_alive = False
        self.idle_s: int | None = None
        """How long the server keeps an idle connection open, if it says so."""

    @property
    def body(self) -> bytes:
        parts = self._parts
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def feed(self, data: bytes) -> bool:
        """Read the next bytes. Raises Malformed, TooLarge."""
        self._buffer = self._buffer + data if self._buffer else data
        while self._step(self):
            pass
        self._buffer, self._at = self._buffer[self._at :], 0
        return self._step is AnswerReader._stop

    def end(self) -> bool:
        """Record that the connection ended, which ends a body without a length."""
        if self._step is AnswerReader._read_to_the_end:
            self._step = AnswerReader._stop
        return self._step is AnswerReader._stop

    def _stop(self) -> bool:
        if self._at < len(self._buffer):
            self.keep_alive = False  # the bytes after the answer belong to no request
        return False

    def _read_head(self) -> bool:
        head = self._until(b"\r\n\r\n", HEAD_BOUND)
        if head is None:
            self._pieces += 1
            if self._pieces > PIECES_BOUND:
                raise Malformed("a head in too many pieces")
            return False
        first, *lines = head.split(b"\r\n")
        status, is_old = (_kept_status if len(first) <= LINE_KEPT_BOUND else _read_status)(first)
        fields = self._fields(lines)
        if status < 200:
            self._interim += 1
            self.headers.clear()  # they are not the answer's
            # 101 would switch to another protocol, which was not requested.
            if status == 101 or self._interim > INTERIM_BOUND:
                raise Malformed("an interim answer that was not asked for")
            return True
        self.status = status
        # RFC 9112 section 9.3: connections stay open by default in HTTP/1.1, and close in HTTP/1.0.
        self.keep_alive = not is_old
        if "connection" in fields:
            options = {option.strip() for option in fields["connection"].lower().split(",")}
            self.keep_alive = "close" not in options and (not is_old or "keep-alive" in options)
        if "keep-alive" in fields:
            hint = _IDLE.search(fields["keep-alive"].lower())
            self.idle_s = int(hint[1]) if hint else None
        self._step = self._framed(fields, is_old=is_old)
        return True

    def _fields(self, lines: list[bytes]) -> dict[str, str]:
        """Parse the header lines into ``headers``, and return those that frame the answer."""
        framing: dict[str, str] = {}
        for line in lines:
            name, value = (_kept_field if len(line) <= LINE_KEPT_BOUND else _read_field)(line)
            if name in _FRAMING:
                # Joined, so that a second, different length is found.
                framing[name] = f"{framing[name]},{value}" if name in framing else value
            elif name in self._keep:
                self.headers.setdefault(name, value)
        return framing

    def _framed(self, fields: dict[str, str], *, is_old: bool) -> Step:
        """Return the step that reads the body. Raises Malformed, TooLarge."""
        if fields.get("content-encoding", "identity").lower() != "identity":
            raise Malformed("a content coding that was not asked for")
        coding, length = fields.get("transfer-encoding"), fields.get("content-length")
        # RFC 9112 section 6.3: with both a length and a coding the end of the answer is ambiguous, and bytes after one
        # end could become the answer to the next request, which may be another app's.
        if coding is not None and (coding.lower() != "chunked" or length is not None or is_old):
            raise Malformed("the framing")
        if length is not None and not _LENGTH.fullmatch(length):
            # RFC 9110 section 8.6: a repeated length is valid only if all are equal.
            length, *others = {part.strip() for part in length.split(",")}
            if others or not _LENGTH.fullmatch(length):
                raise Malformed("the length")
        # These have no body, even if their headers announce one.
        if self.status in _EMPTY:
            # If the server writes a body nevertheless, it would be read as the next answer.
            self.keep_alive = self.keep_alive and coding is None and length in {None, "0"}
            return AnswerReader._stop
        if coding is not None:
            return AnswerReader._read_chunk_line
        if length is None:
            self.keep_alive = False
            return AnswerReader._read_to_the_end
        self._left = int(length)
        self._take_in(self._left)
        return AnswerReader._read_sized if self._left else AnswerReader._stop

    def _take_in(self, size: int) -> None:
        self._size += size
        if self._size > self._bound:
            raise TooLarge

    def _move(self) -> None:
        """Move the buffered part of the body out of the buffer."""
        part = self._buffer[self._at : self._at + self._left]
        if part:
            self._parts.append(part)
            self._at += len(part)
            self._left -= len(part)

    def _read_sized(self) -> bool:
        self._move()
        if self._left:
            return False
        self._step = AnswerReader._stop
        return True

    def _read_to_the_end(self) -> bool:
        self._left = len(self._buffer) - self._at
        self._take_in(self._left)
        self._move()
        return False

    def _until(self, mark: bytes, bound: int) -> bytes | None:
        """Return the bytes before a mark, and move past it; None until the mark has arrived. Raises Malformed."""
        end = self._buffer.find(mark, self._at, self._at + bound + len(mark))
        if end < 0:
            if len(self._buffer) - self._at >= bound + len(mark):
                raise Malformed("the head or the line before a chunk is too long")
            return None
        found, self._at = self._buffer[self._at : end], end + len(mark)
        return found

    def _read_chunk_line(self) -> bool:
        line = self._until(b"\r\n", LINE_BOUND)
        if line is None:
            return False
        found = _CHUNK.fullmatch(line)
        if found is None:
            raise Malformed("a chunk")
        self._chunks += 1
        if self._chunks > CHUNKS_BOUND:
            raise TooLarge
        self._left = int(found[1], 16)
        self._take_in(self._left)
        if self._left:
            self._step = AnswerReader._read_chunk
        else:
            self._left, self._step = HEAD_BOUND, AnswerReader._read_trailer
        return True

    def _read_chunk(self) -> bool:
        self._move()
        if self._left or len(self._buffer) < self._at + 2:
            return False
        if self._buffer[self._at : self._at + 2] != b"\r\n":
            raise Malformed("the end of a chunk")
        self._at += 2
        self._step = AnswerReader._read_chunk_line
        return True

    def _read_trailer(self) -> bool:
        line = self._until(b"\r\n", LINE_BOUND)
        if line is None:
            return False
        self._left -= len(line) + 2
        if self._left < 0 or (line and not _FIELD.fullmatch(line)):
            raise Malformed("a trailer")
        if not line:
            self._step = AnswerReader._stop
        return True
