"""Where an app is installed, for notices."""

from collections.abc import Iterator

from hilum.apps.installations import store
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import AppId, TenantId
from hilum.foundation.kernel.pages import walk


def hospitals_of(ctx: Context, app: AppId) -> Iterator[TenantId]:
    """Yield the hospitals at which an app is installed now, without a permission check, for the platform itself."""
    yield from walk(lambda page: store.list_places(ctx.tx, app, page), key=str)
