"""The table of pictures."""

from sqlalchemy import Boolean, Column, Connection, LargeBinary, String, Table, select

from hilum.foundation.infra.db import insert_or_ignore, metadata
from hilum.foundation.pictures.models import Picture

pictures = Table(
    "pictures_picture",
    metadata,
    # Kind and id of whose it is: "app/<id>".
    Column("owner", String(120), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("shown", Boolean, nullable=False),
)


def add(tx: Connection, owner: str, picture: Picture) -> None:
    """Add a picture that is not shown yet, unless it exists."""
    row = {"owner": owner, "digest": picture.digest, "content": picture.content, "shown": False}
    tx.execute(insert_or_ignore(tx, pictures).values(row))


def remove_others(tx: Connection, owner: str, kept: str, *, shown: bool | None = None) -> None:
    """Remove an owner's pictures but one; with ``shown`` only those that are, or are not."""
    query = pictures.delete().where(pictures.c.owner == owner, pictures.c.digest != kept)
    tx.execute(query if shown is None else query.where(pictures.c.shown.is_(shown)))


def set_shown(tx: Connection, owner: str, digest: str) -> bool:
    """Mark a picture as shown; return False if it does not exist."""
    here = (pictures.c.owner == owner) & (pictures.c.digest == digest)
    return tx.execute(pictures.update().where(here).values(shown=True)).rowcount == 1


def find(tx: Connection, owner: str, digest: str, *, shown: bool) -> bytes | None:
    """Find the content of a picture; with ``shown`` only if it is."""
    query = select(pictures.c.content).where(pictures.c.owner == owner, pictures.c.digest == digest)
    found = tx.execute(query.where(pictures.c.shown.is_(True)) if shown else query).scalar_one_or_none()
    return None if found is None else bytes(found)
