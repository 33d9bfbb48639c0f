"""An authorization that nothing has ended, and has been dormant for a day."""

from datetime import UTC, datetime, timedelta

from hilum.authorization.consent.models import Authorization, Basis
from hilum.foundation.kernel.ids import AppId, AuthorizationId, ClientId, PersonId, TenantId, VersionId
from hilum.policy.matrix.models import Tier
from hilum.policy.matrix.shipped import shipped_book

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
ENTRY = next(
    entry
    for each in shipped_book().categories.values()
    for tier, entry in each.entries.items()
    if tier in Tier
)
LONG = timedelta(days=ENTRY.dormant_days)
AGREED = Authorization(
    id=AuthorizationId("aut_1"),
    tenant=TenantId("mercy"),
    person=PersonId("per_1"),
    app=AppId("app_1"),
    version=VersionId("ver_1"),
    client=ClientId("cli_1"),
    basis=Basis.TENANT,
    scopes=("patient/Goal.rs",),
    created_at=NOW - LONG - timedelta(days=1),
    expires_at=NOW + timedelta(days=30),
    last_validated_at=NOW - timedelta(days=1),
    workflow="intake",
)
