"""Imports every room with rows of hospitals, for code that walks all tables.

SQLAlchemy knows only the tables of imported rooms, and host commands and the jobs process import only the rooms that they call. Code that
erases or exports a hospital must therefore import this module.
"""

from hilum.audit import live as audit
from hilum.breakglass import service as breakglass
from hilum.consent import service as consent
from hilum.drills import service as drills
from hilum.dryruns import service as dryruns
from hilum.enrolment import service as enrolment
from hilum.evidence import service as evidence
from hilum.factors import service as factors
from hilum.federation import service as federation
from hilum.frontchannel import service as frontchannel
from hilum.launches import service as launches
from hilum.mandates import service as mandates
from hilum.monitoring import service as monitoring
from hilum.requests import service as requests
from hilum.revalidation import service as revalidation
from hilum.signin import service as signin
from hilum.snapshots import service as snapshots
from hilum.tokens import service as tokens

ROOMS = (
    audit,
    breakglass,
    consent,
    drills,
    dryruns,
    enrolment,
    evidence,
    factors,
    federation,
    frontchannel,
    launches,
    mandates,
    monitoring,
    requests,
    revalidation,
    signin,
    snapshots,
    tokens,
)
