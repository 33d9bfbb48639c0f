"""Store and show pictures. The rooms above check permissions and write the audit."""

from hilum.infra.context import Context
from hilum.kernel.errors import NotFound
from hilum.pictures import store
from hilum.pictures.looks import NEAR, distance, look_of
from hilum.pictures.models import Owners, Picture, SimilarPictures


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


def alike(ctx: Context, kind: Owners, owner: str, look: str) -> SimilarPictures:
    """Return the owners of shown pictures that look like a new one, nearest first (C212). A picture in one colour has no look."""
    if not look:
        return SimilarPictures((), whole=True)
    shown = store.shown_looks(ctx.tx, _of(kind, owner))
    found = sorted((distance(look, other), of) for of, other in shown if other is not None)
    near = [of.partition("/") for apart, of in found if apart <= NEAR]
    whole = len(shown) <= store.LOOKS_BOUND and all(other is not None for _, other in shown)
    return SimilarPictures(tuple((Owners(kind_of), id_) for kind_of, _, id_ in near), whole)


def note_looks(ctx: Context) -> int:
    """Compute the looks of a batch of older pictures; return how many."""
    found = store.without_look(ctx.tx)
    for owner, digest, content in found:
        store.save_look(ctx.tx, owner, digest, look_of(content))
    return len(found)


def _of(kind: Owners, owner: str) -> str:
    return f"{kind.value}/{owner}"
