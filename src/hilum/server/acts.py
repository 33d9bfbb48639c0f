"""The table of services that carry out what two people agreed to, by kind of approval."""

from hilum.apps.clients import service as clients
from hilum.apps.registry import service as registry
from hilum.authorization.breakglass import service as breakglass
from hilum.authorization.consent import service as consent
from hilum.controls.approvals.models import ApprovalKind
from hilum.controls.approvals.service import Acts
from hilum.hospitals.offboarding import service as offboardings
from hilum.identity.enrolment import service as enrolment
from hilum.identity.enrolment.models import LinkMail
from hilum.identity.federation import service as federation
from hilum.identity.people import service as identity
from hilum.policy.matrix import service as policies
from hilum.review.submissions import service as review


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
        | offboardings.CARRY_OUT
    )
    return Acts(enrolment.one_of_two, carry_out, policies.PREPARE)
