"""An app with a client, certified and installed, as values."""

from datetime import timedelta

from hilum.apps.clients import policy as clients_policy
from hilum.apps.clients.models import Client, ClientType, Deployment
from hilum.apps.installations.models import InstallationFacts
from hilum.apps.registry.models import App, AppVersion, Certification, Environment
from hilum.foundation.kernel.ids import AppId, ClientId, VendorId, VersionId
from hilum.policy.matrix.models import UNCLASSIFIED, ClientAuthentication, Tier
from tests.sim.world import START

NOW = START
PAST, FUTURE = NOW - timedelta(days=1), NOW + timedelta(days=1)
SCOPES = ("launch", "openid", "patient/*.rs")
CLIENT = Client(
    ClientId("cli_1"), AppId("app_1"), VersionId("ver_1"), Environment.PRODUCTION, ClientType.PUBLIC, Deployment.BROWSER, "X",
    scopes=("launch", "openid", "patient/Observation.rs", "patient/Patient.cruds"),
)  # fmt: skip
APP = App(AppId("app_1"), VendorId("ven_1"), "X", "d", "p", category=UNCLASSIFIED)
VERSION = AppVersion(CLIENT.version, APP.id, "1.0", PAST)
TIERS = dict.fromkeys(ClientAuthentication, Tier.HIGH)
CERT = Certification(
    "cert_1",
    APP.id,
    CLIENT.version,
    SCOPES,
    "staff:r",
    PAST,
    FUTURE,
    Environment.PRODUCTION,
    TIERS,
    APP.category,
)
FACTS = clients_policy.join(CLIENT, APP, VERSION, [CERT])
INSTALLED = InstallationFacts(SCOPES, frozenset({"physician"}), None, PAST, Environment.PRODUCTION)
