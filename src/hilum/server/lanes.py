"""Which lane each request's database work runs in. The one place where a route's lane is stated."""

import re

from hilum.foundation.infra import lanes
from hilum.foundation.infra.lanes import Lane
from hilum.foundation.web.asgi import App, Receive, Scope, Send

ANY = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
WRITING = frozenset({"POST", "PUT", "PATCH", "DELETE"})
POST, DELETE = frozenset({"POST"}), frozenset({"DELETE"})

TABLE: tuple[tuple[Lane, frozenset[str], str], ...] = (
    (Lane.URGENT, WRITING, r"/api/v1/switches(/.*)?"),
    (Lane.URGENT, POST, r"/api/v1/apps/[^/]+/(suspend|resume)"),
    # Whatever the API deletes takes something away: an installation, a person's access, a secret.
    (Lane.URGENT, DELETE, r"/api/v1/.*"),
    # Narrowing an installation and closing a hospital.
    (Lane.URGENT, frozenset({"PATCH"}), r"/api/v1/(installations|tenants)/[^/]+"),
    (Lane.URGENT, frozenset({"PUT"}), r"/api/v1/people/[^/]+/charts"),
    (Lane.URGENT, POST, r"/(operations|tenant)/(switches|stops)(/.*)?"),
    # Strangers may call these, so they are apart from what only staff may call (ADR 32).
    (Lane.REVOKE, POST, r"/t/[^/]+/(oauth/revoke|manage|signout)"),
    (Lane.REVOKE, frozenset({"PATCH", "DELETE"}), r"/t/[^/]+/ehr/launches/[^/]+"),
    (Lane.REVOKE, POST, r"/signout"),
    # ``audit.routes`` moves readers among the staff to STAFF_AUDIT.
    (Lane.AUDIT, ANY, r"/api/v1/(accesses|audit(/.*)?|explain/.*|events)"),
    # Sums over the counted decisions of up to 90 days; the journals.
    (Lane.AUDIT, frozenset({"GET"}), r"/api/v1/apps/[^/]+/(scopes|calls)"),
    (Lane.TOKENS, POST, r"/api/v1/tokens"),
    (Lane.TOKENS, ANY, r"/t/.*|/logos/.*|/signin(/.*)?|/signout|/account(/.*)?|/\.well-known/.*"),
)
"""The first line that matches decides; a request that matches none runs in ``Lane.CONTROL``."""
_COMPILED = tuple((lane, methods, re.compile(path)) for lane, methods, path in TABLE)


def lane_of(method: str, path: str) -> Lane:
    """Return the lane of a request."""
    return next(
        (lane for lane, methods, fits in _COMPILED if method in methods and fits.fullmatch(path)),
        Lane.CONTROL,
    )


def in_lanes(app: App) -> App:
    """Run every request of ``app`` in its lane."""

    async def laned(scope: Scope, receive: Receive, send: Send) -> None:
        with lanes.using(lane_of(scope.get("method", ""), scope["path"])):
            await app(scope, receive, send)

    return laned
