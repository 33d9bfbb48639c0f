"""Id types. Ids have no meaning and are never reused, except a tenant's, which is its name in URLs."""

from typing import NewType

TenantId = NewType("TenantId", str)
"""2 to 32 of ``[a-z0-9-]``; part of every URL of the tenant, so it never changes."""
PersonId = NewType("PersonId", str)
FacilityId = NewType("FacilityId", str)
VendorId = NewType("VendorId", str)
"""Has an underscore, which no tenant's id has: the place of an account is one or the other (ADR 48)."""
AppId = NewType("AppId", str)
VersionId = NewType("VersionId", str)
AppAtTenant = tuple[TenantId, AppId]
"""An app at a hospital."""
ClientId = NewType("ClientId", str)
LaunchId = NewType("LaunchId", str)
RunId = NewType("RunId", str)
AuthorizationId = NewType("AuthorizationId", str)
FamilyId = NewType("FamilyId", str)
"""A family of refresh tokens: all that descend from one authorization code (RFC 9700 section 4.14)."""
SessionId = NewType("SessionId", str)
Part = NewType("Part", str)
"""A part of the enforcement facts, whose changes one module writes; 1 to 40 of ``[a-z_]``."""
