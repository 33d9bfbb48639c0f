"""Embedded FHIR servers: one SQLite file for each tenant, opened on first use."""

import sqlite3
from collections.abc import Callable
from datetime import datetime

from hilum.foundation.infra.settings import Settings
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.ports import Clock, Ids
from hilum.foundation.web.asgi import App, Receive, Scope, Send
from hilum.foundation.web.urls import Urls
from hilum.gateway.upstream.live import Embedded
from hilum_ehr.fhirserver.models import FhirServerSettings
from hilum_ehr.fhirserver.routes import FhirServer
from hilum_ehr.sandbox.faults import FHIR_FOLDER, FaultBook, with_faults

_PROFILES = {
    "AllergyIntolerance": "us-core-allergyintolerance",
    "CarePlan": "us-core-careplan",
    "CareTeam": "us-core-careteam",
    "Condition": "us-core-condition-encounter-diagnosis us-core-condition-problems-health-concerns",
    "Coverage": "us-core-coverage",
    "Device": "us-core-implantable-device",
    "DiagnosticReport": "us-core-diagnosticreport-lab us-core-diagnosticreport-note",
    "DocumentReference": "us-core-documentreference",
    "Encounter": "us-core-encounter",
    "Goal": "us-core-goal",
    "Immunization": "us-core-immunization",
    "Location": "us-core-location",
    "Medication": "us-core-medication",
    "MedicationDispense": "us-core-medicationdispense",
    "MedicationRequest": "us-core-medicationrequest",
    "Observation": (
        "us-core-observation-lab us-core-blood-pressure us-core-bmi us-core-head-circumference us-core-body-height "
        "us-core-body-weight us-core-body-temperature us-core-heart-rate pediatric-bmi-for-age "
        "head-occipital-frontal-circumference-percentile pediatric-weight-for-height us-core-pulse-oximetry "
        "us-core-respiratory-rate us-core-smokingstatus us-core-observation-clinical-result us-core-observation-occupation "
        "us-core-observation-pregnancyintent us-core-observation-pregnancystatus us-core-observation-screening-assessment "
        "us-core-observation-sexual-orientation us-core-average-blood-pressure us-core-care-experience-preference "
        "us-core-treatment-intervention-preference"
    ),
    "Organization": "us-core-organization",
    "Patient": "us-core-patient",
    "Practitioner": "us-core-practitioner",
    "PractitionerRole": "us-core-practitionerrole",
    "Procedure": "us-core-procedure",
    "Provenance": "us-core-provenance",
    "QuestionnaireResponse": "us-core-questionnaireresponse",
    "RelatedPerson": "us-core-relatedperson",
    "ServiceRequest": "us-core-servicerequest",
    "Specimen": "us-core-specimen",
}
_PREFIX = "http://hl7.org/fhir/us/core/StructureDefinition/"
PROFILES = {kind: tuple(_PREFIX + name for name in names.split()) for kind, names in _PROFILES.items()}
"""Profiles of the resources in the synthetic charts. Source: US Core 6.1.0 and 7.0.0, us-core-server."""
US_CORE_SERVER = "http://hl7.org/fhir/us/core/CapabilityStatement/us-core-server"


class EmbeddedServers:
    """The FHIR servers of this process.

    Their data is in this node's directory. While another node serves the platform too (``alone`` returns False) no node answers from
    them: each would have only a part of a chart.
    """

    def __init__(
        self,
        settings: Settings,
        urls: Urls,
        clock: Clock,
        ids: Ids,
        *,
        alone: Callable[[], bool] = lambda: True,
    ) -> None:
        self._alone = alone
        self._folder = settings.data_dir / FHIR_FOLDER
        self._urls, self._clock, self._ids = urls, clock, ids
        self._faults = FaultBook(self._folder, clock)
        self._open: dict[TenantId, tuple[FhirServer, Embedded]] = {}

    def find(self, tenant: TenantId) -> Embedded | None:
        """Return the tenant's embedded server; None while another node serves too, or its store cannot be opened."""
        # Checked at each call: another node may have joined since the last one.
        if not self._alone():
            return None
        # Asked for each request, and open already nearly every time.
        if (entry := self._open.get(tenant)) is not None:
            return entry[1]
        try:
            # A store that cannot be opened is treated as an unreachable server: one hospital's damaged
            # file must not fail the worker.
            return self._entry(tenant)[1]
        except (OSError, sqlite3.Error):
            return None

    def list_superseded(
        self, tenant: TenantId, resource_type: str, text: str, since: datetime
    ) -> list[bytes]:
        """List the versions of a tenant's server that are no longer current and contain ``text``. Raises Unavailable."""
        if not self._alone():
            raise Unavailable("upstream_unavailable", "The embedded FHIR server is on another node.")
        try:
            return self._entry(tenant)[0].service.list_superseded(resource_type, text, since)
        except (OSError, sqlite3.Error) as error:
            raise Unavailable("upstream_unavailable", "The embedded FHIR server cannot be read.") from error

    def server(self, tenant: TenantId) -> FhirServer:
        """Return the server itself, for seeding."""
        return self._entry(tenant)[0]

    def _entry(self, tenant: TenantId) -> tuple[FhirServer, Embedded]:
        entry = self._open.get(tenant)
        if entry is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            base = self._urls.fhir_base(tenant)
            settings = FhirServerSettings(
                self._folder / f"{tenant}.db",
                base,
                supported_profiles=PROFILES,
                instantiates=(US_CORE_SERVER,),
            )
            server = FhirServer(settings, self._clock, self._ids)
            app = with_faults(_guarded(server), self._faults, tenant)
            entry = self._open[tenant] = (server, Embedded(app, base))
        return entry

    async def close(self) -> None:
        """Close every server."""
        for server, _ in self._open.values():
            server.close()
        self._open.clear()


def _guarded(server: FhirServer) -> App:
    """Wrap the server so that a full or missing disk is Unavailable, as if a remote server did not answer."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await server(scope, receive, send)
        except sqlite3.Error as error:
            raise Unavailable("upstream_unavailable", "The FHIR server's store cannot be used.") from error

    return guarded
