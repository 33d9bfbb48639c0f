"""Who carries out what two people agreed to."""

from hilum.approvals.service import Acts
from hilum.enrolment import service as enrolment
from hilum.identity import service as identity
from hilum.registry import service as registry

ACTS = Acts(enrolment.one_of_two, identity.CARRY_OUT | enrolment.CARRY_OUT | registry.CARRY_OUT)
