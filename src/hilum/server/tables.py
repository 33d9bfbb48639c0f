"""Imports every module with rows of hospitals, for code that walks all tables.

SQLAlchemy knows only the tables of imported modules, and host commands and the jobs process import only the modules that they call. Code that
erases or exports a hospital must therefore import this module.
"""

from hilum.apps.service_owners import service as service_owners
from hilum.authorization.authorize import service as authorize
from hilum.authorization.breakglass import service as breakglass
from hilum.authorization.consent import service as consent
from hilum.authorization.launches import service as launches
from hilum.authorization.tokens import service as tokens
from hilum.hospitals.requests import service as requests
from hilum.hospitals.vendor_hospitals import service as snapshots
from hilum.identity.enrolment import service as enrolment
from hilum.identity.factors import service as factors
from hilum.identity.federation import service as federation
from hilum.identity.signin import service as signin
from hilum.operations.drills import service as drills
from hilum.operations.dry_runs import service as dryruns
from hilum.operations.fhir_servers import service as fhir_servers
from hilum.operations.incidents import service as incidents
from hilum.operations.monitoring import service as monitoring
from hilum.records.audit import live as audit
from hilum.review.certification_runs import service as evidence
from hilum.review.recertification import service as revalidation

MODULES = (
    audit,
    breakglass,
    consent,
    drills,
    dryruns,
    enrolment,
    evidence,
    factors,
    federation,
    fhir_servers,
    authorize,
    launches,
    service_owners,
    incidents,
    monitoring,
    requests,
    revalidation,
    signin,
    snapshots,
    tokens,
)
