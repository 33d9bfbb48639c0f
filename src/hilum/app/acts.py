"""The table of services that carry out what two people agreed to, by kind of approval."""

from hilum.approvals.models import ApprovalKind
from hilum.approvals.service import Acts
from hilum.breakglass import service as breakglass
from hilum.clients import service as clients
from hilum.consent import service as consent
from hilum.departures import service as departures
from hilum.enrolment import service as enrolment
from hilum.enrolment.models import LinkMail
from hilum.federation import service as federation
from hilum.identity import service as identity
from hilum.policies import service as policies
from hilum.registry import service as registry
from hilum.review import service as review


def acts(by_mail: LinkMail) -> Acts:
    """Build the table. ``by_mail``: how links into accounts are mailed."""
    carry_out = (
        identity.CARRY_OUT
        | {ApprovalKind.CHARTS: consent.carry_out_charts}
        | enrolment.carry_out(by_mail)
        | federation.CARRY_OUT
        | breakglass.CARRY_OUT
        | clients.CARRY_OUT
        | policies.CARRY_OUT
        | registry.CARRY_OUT
        | review.CARRY_OUT
        | departures.CARRY_OUT
    )
    return Acts(enrolment.one_of_two, carry_out, policies.PREPARE)
