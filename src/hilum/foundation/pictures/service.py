"""Store and show pictures. The modules above check permissions and write the audit."""

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.pictures import store
from hilum.foundation.pictures.models import Owners, Picture


def keep(ctx: Context, kind: Owners, owner: str, picture: Picture) -> None:
    """Store a picture that is not shown yet, replacing an earlier one: an owner has at most two."""
    of = _of(kind, owner)
    store.remove_others(ctx.tx, of, picture.digest, shown=False)
    if picture.content:
        store.add(ctx.tx, of, picture)


def show(ctx: Context, kind: Owners, owner: str, digest: str) -> None:
    """Show a stored picture and delete its owner's others; without a digest delete all. Raises NotFound."""
    of = _of(kind, owner)
    if digest and not store.set_shown(ctx.tx, of, digest):
        raise NotFound("picture_not_found", "This picture is no longer here. Upload it again.")
    store.remove_others(ctx.tx, of, digest)


def find(ctx: Context, kind: Owners, owner: str, digest: str, *, shown: bool) -> bytes | None:
    """Find the content of a picture; with ``shown`` only of one that is shown."""
    return store.find(ctx.tx, _of(kind, owner), digest, shown=shown)


def _of(kind: Owners, owner: str) -> str:
    return f"{kind.value}/{owner}"
