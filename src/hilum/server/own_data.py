"""Loads a developer's own FHIR data into a synthetic hospital, so that its patients appear in the simulator."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import orjson

from hilum.foundation.infra.settings import Settings
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.web.urls import Urls
from hilum.server.embedded_servers import EmbeddedServers
from hilum_ehr.fhirserver.models import Refused
from hilum_ehr.sandbox import own_data
from hilum_ehr.sandbox.credentials import FILE_NAME, CredentialsFile
from hilum_ehr.sandbox.own_data import Charts, Entry, Targets
from hilum_ehr.sandbox.snapshots import SnapshotBook

READ, CHECKED = 0.1, 0.5
"""Shares of the progress after every file was read, and after every resource was checked."""
ISSUES_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Loaded:
    """What was stored, by resource type, and the ids of the patients."""

    counts: dict[str, int]
    patients: list[str]


def load(
    settings: Settings, tenant: TenantId, paths: list[Path], *, progress: Callable[[float], None]
) -> Loaded:
    """Check every resource of the files, then store them under their own ids. ``progress`` is called with shares from 0 to 1.

    Nothing is stored if one is refused. Earlier resources of the same ids are replaced, so an interrupted load can be repeated.
    Raises Invalid, Unavailable.
    """
    targets, charts, counts = Targets(), Charts(), Counter[str]()
    for path in paths:
        for entry in own_data.read(path):
            targets.add(entry)
    if not targets.count:
        raise Invalid("own_data_empty", "There is no resource in these files.")
    progress(READ)
    urls = Urls(settings.base_url, settings.sandbox_url)
    server = EmbeddedServers(settings, urls, SystemClock(), SystemIds()).server(tenant)
    try:
        for path in paths:
            for entry in own_data.read(path):
                resource = own_data.with_resolved_references(entry, targets)
                try:
                    server.service.check(orjson.dumps(resource))
                except Refused as refused:
                    raise _refusal(entry, refused) from refused
                charts.add(resource, path.name)
                counts[entry.type] += 1
                progress(READ + (CHECKED - READ) * counts.total() / targets.count)
        # Before anything is stored: a list that is too long could not be read at the next start.
        _credentials_file_with(settings.data_dir / FILE_NAME, tenant, charts).content()
        server.load(_stored(paths, targets, progress))
    finally:
        server.close()
    _save_list(settings, tenant, charts)
    progress(1.0)
    return Loaded(dict(sorted(counts.items())), sorted(charts.names))


def _stored(paths: list[Path], targets: Targets, progress: Callable[[float], None]) -> Iterator[bytes]:
    done = 0
    for path in paths:
        for entry in own_data.read(path):
            done += 1
            progress(CHECKED + (1 - CHECKED) * done / targets.count)
            yield orjson.dumps(own_data.with_resolved_references(entry, targets))


def _refusal(entry: Entry, refused: Refused) -> Invalid:
    shown = refused.issues[:ISSUES_SHOWN]
    issues = "; ".join(
        f"{each.expression}: {each.detail}" if each.expression else each.detail for each in shown
    )
    return Invalid(
        "own_data_refused", f"{entry.where}: this {entry.type or 'resource'} is not valid: {issues}"
    )


def _save_list(settings: Settings, tenant: TenantId, charts: Charts) -> None:
    """Add the patients to the simulator's list or, at a vendor's snapshot, to the snapshot's own, which no other vendor sees."""
    book = SnapshotBook(settings.data_dir)
    own = book.find(tenant)
    if own is not None:
        book.save(replace(own, charts=own_data.merged(own.charts, charts.lines())))
        return
    path = settings.data_dir / FILE_NAME
    _credentials_file_with(path, tenant, charts).save(path)


def _credentials_file_with(path: Path, tenant: TenantId, charts: Charts) -> CredentialsFile:
    """Return the credentials file with the patients added to a hospital's list."""
    credentials_file = CredentialsFile.load(path)
    credentials_file.charts[tenant] = own_data.merged(credentials_file.charts.get(tenant, []), charts.lines())
    return credentials_file
