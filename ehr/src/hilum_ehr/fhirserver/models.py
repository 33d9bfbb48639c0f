"""Values of the FHIR server: settings, bounds, refusals, stored versions and search plans."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from hilum.foundation.kernel.errors import HilumError
from hilum.foundation.standards.fhir.searchparams import Kind

MAX_BODY_BYTES = 9 * 1024 * 1024
MAX_QUERY_BYTES = 16 * 1024
MAX_PARAMETERS = 64
MAX_ALTERNATIVES = 200
# Chains multiply: each hop is a join, and an untyped reference leads to many types.
MAX_HOPS = 3
MAX_WAYS = 16
MAX_SORT_KEYS = 5
MAX_INCLUDE_PARAMETERS = 16
MAX_INCLUDED = 1_000
MAX_ISSUES = 50
DEFAULT_COUNT = 50
MAX_COUNT = 500
# A sorted page is reached by skipping rows, which costs as much as reading them.
MAX_OFFSET = 1_000_000
LOAD_BATCH = 500
# SQLite has one writer, so more threads would mostly wait.
THREADS = 4


@dataclass(frozen=True, slots=True)
class FhirServerSettings:
    """The settings of one server. ``base_url`` is the FHIR base as clients use it, without a trailing slash."""

    path: Path
    base_url: str
    resource_types: frozenset[str] = frozenset()
    """The types that can be stored; empty means all of R4."""
    supported_profiles: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    instantiates: tuple[str, ...] = ()
    name: str = "Hilum FHIR server"
    # SQLite's busy handler retries and is not fair: one of many waiting writers may be refused.
    busy_timeout_s: float = 10.0
    search_bound_s: float = 15.0

    def __post_init__(self) -> None:
        assert self.base_url
        assert not self.base_url.endswith("/")


class Problem(StrEnum):
    """Why a request is refused. The edge has one table from these to status and issue code."""

    MALFORMED = "malformed"
    STRUCTURE = "structure"
    RULE = "rule"
    UNKNOWN_PARAMETER = "unknown_parameter"
    BAD_VALUE = "bad_value"
    NOT_SUPPORTED = "not_supported"
    NOT_IMPLEMENTED = "not_implemented"
    UNKNOWN_TYPE = "unknown_type"
    NOT_FOUND = "not_found"
    DELETED = "deleted"
    VERSION_CONFLICT = "version_conflict"
    NOT_SELECTIVE = "not_selective"
    TOO_LARGE = "too_large"
    TOO_COSTLY = "too_costly"
    MEDIA_TYPE = "media_type"
    NOT_ACCEPTABLE = "not_acceptable"
    METHOD = "method"
    BUSY = "busy"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class Issue:
    """One thing that is wrong, and where (``Patient.name[0].given[1]``)."""

    detail: str
    expression: str = ""
    warning: bool = False


class Refused(HilumError):
    """The request is refused; ``issues`` state why, in sentences that are safe to show."""

    def __init__(self, problem: Problem, *issues: Issue | str) -> None:
        self.problem = problem
        self.issues = tuple(i if isinstance(i, Issue) else Issue(i) for i in issues)
        super().__init__(problem.value, self.issues[0].detail if self.issues else "")


# Not frozen, since one is built for each read and a frozen dataclass costs more to build.
@dataclass(slots=True)
class Version:
    """One version of a resource; a deletion is a version without a body."""

    type: str
    id: str
    number: int
    updated: int
    body: bytes
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Precondition:
    """The condition of a write: the current version, any (``present``), or none (``absent``)."""

    version: int | None = None
    present: bool = False
    absent: bool = False


# The conditions of a search, as values that search_store turns into SQL.


@dataclass(frozen=True, slots=True)
class TokenTest:
    code: str | None
    system: str | None


class TextMode(StrEnum):
    STARTS = "starts"
    EXACT = "exact"
    CONTAINS = "contains"


@dataclass(frozen=True, slots=True)
class TextTest:
    folded: str
    raw: str
    mode: TextMode


@dataclass(frozen=True, slots=True)
class ReferenceTest:
    """``types`` are those that the target may have; a URL of another server has the type ''."""

    id: str
    types: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DateTest:
    prefix: str
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class QuantityTest:
    prefix: str
    value: float
    low: float
    high: float
    system: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class UriTest:
    value: str
    below: bool = False


Test = TokenTest | TextTest | ReferenceTest | DateTest | QuantityTest | UriTest


@dataclass(frozen=True, slots=True)
class Match:
    """At least one indexed value under ``key`` passes at least one of the tests; if negated, none does."""

    key: str
    kind: Kind
    tests: tuple[Test, ...]
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """Whether there is no value under ``key``, or (``missing`` False) at least one."""

    key: str
    kind: Kind
    missing: bool


@dataclass(frozen=True, slots=True)
class CompositeMatch:
    """A composite: the values of one element pass the tests of their parts."""

    parts: tuple[Match, ...]


@dataclass(frozen=True, slots=True)
class IdMatch:
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UpdatedMatch:
    tests: tuple[DateTest, ...]


@dataclass(frozen=True, slots=True)
class ChainedMatch:
    """A chain: ``key`` refers to a resource of the type ``target`` that meets ``inner``."""

    key: str
    target: str
    inner: "Condition"


@dataclass(frozen=True, slots=True)
class ReverseChainedMatch:
    """A reverse chain (``_has``): a resource of the type ``source`` that meets ``inner`` refers to this one by ``key``."""

    key: str
    source: str
    inner: "Condition"


@dataclass(frozen=True, slots=True)
class AnyOf:
    conditions: tuple["Condition", ...]


Condition = (
    Match | Missing | CompositeMatch | IdMatch | UpdatedMatch | ChainedMatch | ReverseChainedMatch | AnyOf
)


@dataclass(frozen=True, slots=True)
class SortKey:
    """``key`` is an index key, or ``_id`` or ``_lastUpdated``."""

    key: str
    kind: Kind
    descending: bool


@dataclass(frozen=True, slots=True)
class Include:
    """Follow references forward (of the matches) or backward (to the matches). ``target`` '' means any type."""

    key: str
    source: str
    target: str
    backward: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """The requested part of a resource: all of it, a ``_summary``, or certain elements."""

    summary: str = "false"
    elements: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        return self.summary == "false" and not self.elements


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """A parsed search."""

    resource_type: str
    conditions: tuple[Condition, ...] = ()
    sort: tuple[SortKey, ...] = ()
    includes: tuple[Include, ...] = ()
    count: int = DEFAULT_COUNT
    after: int = 0
    """Where the page starts: after this row (unsorted), or after this many rows (sorted)."""
    total: bool | None = None
    """Whether the client asked for a total, asked for none, or left it to the server."""
    shape: Shape = Shape()
    pretty: bool = False
    echo: tuple[tuple[str, str], ...] = ()
    """The parameters without the page, for links."""

    @property
    def counts_only(self) -> bool:
        return self.shape.summary == "count" or self.count == 0


@dataclass(frozen=True, slots=True)
class Page:
    """One page of matches with what was included, in order. ``next_after`` is None on the last page."""

    matches: tuple[Version, ...]
    included: tuple[Version, ...]
    total: int | None
    next_after: int | None


class IndexRows(NamedTuple):
    """The rows of the search index for one resource, by table, without the resource's row number."""

    token: tuple[tuple[int, int, str, str], ...] = ()
    string: tuple[tuple[int, int, str, str], ...] = ()
    reference: tuple[tuple[int, int, str, str], ...] = ()
    date: tuple[tuple[int, int, int, int], ...] = ()
    quantity: tuple[tuple[int, int, float, float, str, str, str], ...] = ()
    uri: tuple[tuple[int, int, str], ...] = ()


def index_key(resource_type: str, code: str) -> str:
    """Return the index key of a type's search parameter."""
    return f"{resource_type}.{code}"
