"""FHIR servers of hospitals: what the last check found, for the staff and for a hospital's administrators."""

from typing import Any

from hilum.foundation.infra.context import Context
from hilum.gateway.upstream.models import CheckOutcome
from hilum.operations.fhir_servers import policy
from hilum.operations.fhir_servers import service as fhir_servers
from hilum.operations.fhir_servers.models import FhirServer
from hilum.surfaces.console.actions import Pages

_TONES = {
    CheckOutcome.WORKS: "good",
    CheckOutcome.LIMITED: "warn",
    CheckOutcome.FAILS: "bad",
    CheckOutcome.UNTRIED: "plain",
}
_WORST_FIRST = tuple(
    reversed((CheckOutcome.WORKS, CheckOutcome.UNTRIED, CheckOutcome.LIMITED, CheckOutcome.FAILS))
)


def _more(_ctx: Context, server: FhirServer) -> dict[str, Any]:
    lines = sorted(server.lines, key=lambda each: _WORST_FIRST.index(each.outcome))
    return {
        "lines": [(each, _TONES[each.outcome]) for each in lines],
        "checking": bool(server.asked_by) and policy.is_waiting(server),
    }


OPERATIONS = Pages(
    "operations.fhir_server",
    listed=fhir_servers.list_servers,
    show=fhir_servers.view,
    acts=(fhir_servers.check,),
    lead="Whether each hospital's FHIR server works as apps need it. All are checked every night.",
    empty=lambda _may: ("No FHIR server was checked", "Connect one with `hilum tenant upstream`."),
    template="console/fhir_servers/fhir_server.html",
    more=_more,
)
TENANT = Pages(
    "tenant.fhir_server",
    listed=fhir_servers.list_servers,
    show=fhir_servers.view,
    acts=(fhir_servers.check,),
    lead="Whether your FHIR server works as apps need it. It is checked every night.",
    empty=lambda _may: (
        "It was not checked",
        "Your data is on this platform, or the first check has not ended.",
    ),
    template="console/fhir_servers/fhir_server.html",
    more=_more,
)
