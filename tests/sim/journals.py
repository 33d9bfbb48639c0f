"""Where a site in the test's process has its journal: in a folder beside its SQLite database, as in a home."""

from pathlib import Path

from hilum.foundation.infra.unit_of_work import UnitOfWork


def journal_of(uow: UnitOfWork) -> Path:
    return Path(uow.db.url.removeprefix("sqlite:///")).parent / "journal"
