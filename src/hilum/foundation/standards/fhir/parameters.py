"""The parameters of a search that are not search parameters, and which of them a search is answered without.

Source: FHIR R4 search.html#all, #errors
"""

import re

from hilum.foundation.standards.fhir.searchparams import parameters_of

# These parameters are executed by the gateway itself, on what it judged. A server that trimmed a resource
# first could trim the subject or label by which the resource is judged.
SHAPE_PARAMETERS = frozenset({"_format", "_pretty", "_summary", "_elements"})
RESULT_PARAMETERS = frozenset({"_count", "_sort", "_total"})
ALWAYS_ACCEPTED = SHAPE_PARAMETERS | RESULT_PARAMETERS
INCLUDE_PARAMETERS = frozenset({"_include", "_revinclude"})
PAGE_PARAMETER = "_page"
"""That of the gateway's own page links."""
# _has and chains answer questions about types that no scope covers, _filter is a language of its own, _list
# and _query mean whatever the server stored, and _text and _content match words of records that are withheld.
# _in and _language are R5's.
REACHING_OUT = frozenset(
    [
        "_has",
        "_filter",
        "_list",
        "_query",
        "_text",
        "_content",
        "_type",
        "_contained",
        "_containedType",
        "_in",
        "_language",
    ]
)
"""FHIR's parameters that filter, or choose other resources, and are not supported."""
_USED = ALWAYS_ACCEPTED | INCLUDE_PARAMETERS | {PAGE_PARAMETER}
# Source: RFC 7240 section 2
_LENIENT = re.compile(r'(?:^|[,;\s])handling\s*=\s*"?lenient"?(?:$|[,;\s])', re.IGNORECASE)

Params = tuple[tuple[str, str], ...]


def without_ignored(type_: str, params: Params, prefer: str) -> Params:
    """Return the parameters that a search is answered by (ADR 12); what reads them, such as the self link, sees no trace of the others.

    An ignored filter widens the answer without a word. So a parameter is ignored only if by FHIR's names it is no filter, or if the client
    asked for that.
    """
    lenient = _LENIENT.search(prefer) is not None
    return tuple(pair for pair in params if not _is_ignored(type_, pair[0], lenient=lenient))


def _is_ignored(type_: str, name: str, *, lenient: bool) -> bool:
    code = name.partition(":")[0]
    if code in _USED:
        return False
    is_plain = "." not in name and code not in REACHING_OUT
    if is_plain and code in parameters_of(type_):
        return False
    return lenient or (is_plain and name.startswith("_") and code == name)
