"""Id types. Ids never carry meaning and are never reused, but for a tenant's, which is its name in addresses."""

from typing import NewType

TenantId = NewType("TenantId", str)
"""2 to 32 of ``[a-z0-9-]``; part of every address of the tenant, so it is chosen once."""
PersonId = NewType("PersonId", str)
VendorId = NewType("VendorId", str)
AppId = NewType("AppId", str)
VersionId = NewType("VersionId", str)
ClientId = NewType("ClientId", str)
LaunchId = NewType("LaunchId", str)
AuthorizationId = NewType("AuthorizationId", str)
FamilyId = NewType("FamilyId", str)
"""One line of refresh tokens, from the authorization code that began it."""
SessionId = NewType("SessionId", str)
Part = NewType("Part", str)
"""A part of the facts that enforcement stands on, of which one room writes the changes; 1 to 40 of ``[a-z_]``."""
