"""The installations that count: those that match what was signed (ADR 142).

Their sheets are leaves of the tree of signed rows. An installation counts if its sheet matches what was signed and has a line that matches it.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from hilum.attestations import service as attestations
from hilum.attestations.service import State
from hilum.infra import logs
from hilum.infra.context import Context
from hilum.infra.unreadable import DAMAGED
from hilum.installations import sheets, store
from hilum.installations.models import Installation, InstallationFacts
from hilum.installations.sheets import Decisive, Line, Sheet
from hilum.kernel.batches import batched
from hilum.kernel.errors import Conflict
from hilum.kernel.ids import AppAtTenant, AppId, TenantId

Row = TypeVar("Row")
SUBJECT = "installed"
SHOWN_BOUND = 20
_TRIES = 5
_log = logs.get("installations")


def _state(sheet: tuple[str, str]) -> State:
    id_, text = sheet
    return f"{SUBJECT}/{id_}", sheets.leaf_of(text)


def _trusted(ctx: Context, of: Collection[str] | None) -> dict[str, str]:
    """Read the texts of some sheets (None: of all) that match what was signed."""
    return dict(attestations.intact(ctx, lambda ctx: store.read_sheets(ctx.tx, of).items(), _state))


# --- what counts ---------------------------------------------------------------------------------------------------------------


def counting(
    ctx: Context, read: Callable[[Context], list[Row]], decisive: Callable[[Row], Decisive]
) -> list[Row]:
    """Read installations, and return those that match what was signed. ``read`` may run again, since others change them meanwhile."""
    # Rows and sheets are read one after the other. If they differ and the head has moved, both are read
    # again; if it has not, the rows were changed without being signed.
    found: list[tuple[Row, Decisive]] = []
    texts: dict[str, str] = {}
    for _ in range(_TRIES):
        before = attestations.newest_head(ctx)
        found = [(row, values) for row in read(ctx) if (values := _values_of(row, decisive)) is not None]
        if not found:
            return []
        texts = _trusted(ctx, {_sheet(values) for _, values in found})
        if all(_fits(texts, values) for _, values in found) or attestations.newest_head(ctx) == before:
            break
    _report([(values[0], values[1]) for _, values in found if not _fits(texts, values)])
    return [row for row, values in found if _fits(texts, values)]


def _values_of(row: Row, decisive: Callable[[Row], Decisive]) -> Decisive | None:
    """Return what enforcement reads of a row; None if it has a value that Hilum never writes."""
    try:
        return decisive(row)
    except DAMAGED:
        _log.error("installations.row.undigested", row=str(getattr(row, "id", "")))
        return None


def _report(faulty: Sequence[tuple[object, object]]) -> None:
    for tenant, app in faulty[:SHOWN_BOUND]:
        _log.error("installations.installation.faulty", tenant=tenant, app=app)
    if len(faulty) > SHOWN_BOUND:
        _log.error("installations.installations.faulty", rows=len(faulty))


def _sheet(decisive: Decisive) -> str:
    return sheets.sheet_of(TenantId(str(decisive[0])), AppId(str(decisive[1])))


def _fits(texts: Mapping[str, str], decisive: Decisive) -> bool:
    return sheets.fits(texts.get(_sheet(decisive), ""), decisive)


def find(ctx: Context, tenant: TenantId, app: AppId) -> Installation | None:
    """Find the current installation of an app at a tenant; None if there is none, or if it does not count."""
    return next(iter(read(ctx, tenant, [app])), None)


def read(ctx: Context, tenant: TenantId, apps: Collection[AppId]) -> list[Installation]:
    """Read the current installations of some apps at a tenant that count."""
    return counting(ctx, lambda ctx: store.read_current(ctx.tx, tenant, apps), sheets.decisive_of)


def counting_apps_at(ctx: Context, tenant: TenantId) -> list[AppId]:
    """List the apps whose installations at a tenant count (``held.apps_at`` has all of them)."""
    found = counting(ctx, lambda ctx: list(store.read_decisive(ctx.tx, tenant=tenant)), tuple)
    return [AppId(app) for _, app, *_ in found]


def facts_at(
    ctx: Context, places: Collection[AppAtTenant]
) -> Iterator[tuple[AppAtTenant, InstallationFacts]]:
    """Read the facts of the installations at some places that count. Few enough for one statement."""
    for row in counting(ctx, lambda ctx: list(store.read_decisive(ctx.tx, places)), tuple):
        if (found := store.facts_of(row)) is not None:
            yield (row[0], row[1]), found


def all_facts(ctx: Context, *, batch: int) -> Iterator[tuple[TenantId, AppId, InstallationFacts]]:
    """Stream the facts of every installation that counts."""
    before, texts = attestations.newest_head(ctx), _trusted(ctx, None)
    odd: list[AppAtTenant] = []
    number_of, digest_of = sheets.number_of, sheets.digest_of
    for row in store.read_decisive(ctx.tx):
        # ``sheets.fits`` written out: a worker that starts does this for a million rows before it is ready.
        tenant, app = row[0], row[1]
        try:
            fits = f"\n{app} {digest_of(row)} " in texts.get(f"{tenant}/{number_of(app)}", "")
        # In SQLite somebody may have written a value of any type.
        except DAMAGED:
            store.note_unreadable(row)
            fits = False
        if not fits:
            odd.append((tenant, app))
        elif (found := store.facts_of(row)) is not None:
            yield tenant, app, found
    del texts
    # Changed between the reading of its sheet and its own. Where nobody signed anything meanwhile, they are as faulty as they look.
    if odd and attestations.newest_head(ctx) == before:
        _report(odd)
        return
    for places in batched(odd, batch):
        for (tenant, app), found in facts_at(ctx, places):
            yield tenant, app, found


def was_removed(ctx: Context, tenant: TenantId, app: AppId) -> bool:
    """Check whether somebody ever removed an app from a tenant. Also True if its sheet is lost, since then nobody knows."""
    if store.was_removed(ctx.tx, tenant, app):
        return True
    sheet = _read(ctx, sheets.sheet_of(tenant, app))
    return sheet.lines[app].removed if app in sheet.lines else sheet.replaces_lost


def _read(ctx: Context, id_: str) -> Sheet:
    """Return a sheet as it was signed; an empty one that replaces it if the signed one is lost."""
    subject = f"{SUBJECT}/{id_}"
    for _ in range(_TRIES):
        before = attestations.newest_head(ctx)
        text = store.read_sheets(ctx.tx, [id_]).get(id_)
        if text is not None and attestations.matches(ctx, _state((id_, text))):
            return sheets.parse(text)
        if text is None and not attestations.is_signed(ctx, subject):
            return Sheet()
        if attestations.newest_head(ctx) == before:
            break
    return Sheet(replaces_lost=True)


# --- signing -------------------------------------------------------------------------------------------------------------------


def require_all(ctx: Context, tenant: TenantId) -> None:
    """Check that every installation at a tenant matches what was signed, and none is missing. Raises Conflict."""
    attestations.lock(ctx)
    every = {f"{SUBJECT}/{id_}": id_ for id_ in sheets.sheets_at(tenant)}
    texts = _trusted(ctx, every.values())
    # A lost sheet may have listed an installation that is missing now.
    if any(every[subject] not in texts for subject in attestations.signed_among(ctx, every)):
        raise _not_as_signed("an app", tenant)
    for app, at, _ in list(_faults_at(ctx, tenant, texts)):
        raise _not_as_signed(app, at)


def _not_as_signed(app: str, tenant: TenantId) -> Conflict:
    detail = f"The installation of {app} at {tenant} does not match what was signed. Somebody changed the database, so it is ignored. Remove it, and install the app again."
    return Conflict("not_as_signed", detail)


def attest(ctx: Context, *after: Installation, before: Mapping[AppId, Installation]) -> None:
    """Sign installations of one tenant as the verb meant to leave them; the last of a verb, since others wait for it.

    ``before``: those that were changed, as they were checked. Raises Conflict (one no longer matches what was signed).
    """

    def changed(installation: Installation, line: Line) -> Line:
        old = before.get(installation.app)
        if old is not None and line != sheets.line_of(old, removed=line.removed):
            raise _not_as_signed(old.app, old.tenant)
        return sheets.line_of(installation, removed=line.removed)

    _write(ctx, {(each.tenant, each.app): _bound(changed, each) for each in after})


def _bound(change: Callable[[Installation, Line], Line], to: Installation) -> Callable[[Line], Line]:
    return lambda line: change(to, line)


def attest_removed(ctx: Context, removed: Installation) -> None:
    """Sign that an app was removed from a tenant; the last of a verb. A removal waits for nothing that does not match what was signed."""
    place = removed.tenant, removed.app
    # Before it is asked: what cannot be proved because others sign at this moment is not damaged.
    attestations.lock(ctx)
    # Where nothing that is signed can be trusted, no installation counts.
    if not attestations.can_sign(ctx, f"{SUBJECT}/{sheets.sheet_of(*place)}"):
        return
    by_somebody = not str(ctx.actor).startswith("system:")
    _write(ctx, {place: lambda line: Line(removed=True) if line.removed or by_somebody else None})


def attest_gone(ctx: Context, places: Iterable[AppAtTenant]) -> None:
    """Sign that apps and their installations were deleted, and leave nothing of them, except where the tree is damaged. Raises Conflict."""
    # Otherwise one damaged sheet would stop all that the verb does. What it still says of apps that no longer exist has no effect.
    some = (each for each in places if attestations.can_sign(ctx, f"{SUBJECT}/{sheets.sheet_of(*each)}"))
    _write(ctx, dict.fromkeys(some, lambda _: None))


def _write(ctx: Context, changes: Mapping[AppAtTenant, Callable[[Line], Line | None]]) -> None:
    if not changes:
        return
    # Before the sheets are read: another change of the same one must be on it.
    attestations.lock(ctx)
    by_sheet: dict[str, list[AppAtTenant]] = {}
    for place in changes:
        by_sheet.setdefault(sheets.sheet_of(*place), []).append(place)
    texts: dict[str, tuple[TenantId, str]] = {}
    for id_, places in by_sheet.items():
        sheet = _read(ctx, id_)
        lines = dict(sheet.lines)
        for tenant, app in places:
            # If the earlier sheet was lost, so was whether somebody removed the app.
            line = changes[tenant, app](lines.pop(app, Line(removed=sheet.replaces_lost)))
            if line is not None:
                lines[app] = line
            texts[id_] = tenant, sheets.render(replace(sheet, lines=lines))
    store.save_sheets(ctx.tx, texts)
    attestations.attest(ctx, *(_state((id_, text)) for id_, (_, text) in texts.items()))


# --- all of them ---------------------------------------------------------------------------------------------------------------


def states(ctx: Context) -> Iterator[State]:
    """Return subject and digest of every sheet."""
    return map(_state, store.read_sheets(ctx.tx, None).items())


def written_states(ctx: Context) -> Iterator[State]:
    """Write every sheet as the installations are now, and return subject and digest of each: for the platform, before they are signed for the first time."""
    store.clear_sheets(ctx.tx)
    removed_apps = store.read_removed_apps(ctx.tx)
    for tenant in store.list_tenants(ctx.tx):
        lines: dict[str, dict[AppId, Line]] = {}
        removed = removed_apps.get(tenant, set())
        for app in removed:
            lines.setdefault(sheets.sheet_of(tenant, app), {})[app] = Line(removed=True)
        for decisive, each in store.stream_current(ctx.tx, tenant):
            line = sheets.line_of(each, decisive, removed=each.app in removed)
            lines.setdefault(sheets.sheet_of(tenant, each.app), {})[each.app] = line
        texts = {id_: (tenant, sheets.render(Sheet(found))) for id_, found in lines.items()}
        store.save_sheets(ctx.tx, texts)
        yield from (_state((id_, text)) for id_, (_, text) in texts.items())


def faults(ctx: Context) -> Iterator[State]:
    """Compare every installation with its sheet; yield which does not match what was signed, and why. The sheets are compared with the tree elsewhere."""
    texts: dict[TenantId, dict[str, str]] = {}
    for id_, text in store.read_sheets(ctx.tx, None).items():
        texts.setdefault(TenantId(id_.partition("/")[0]), {})[id_] = text
    for tenant in dict.fromkeys([*texts, *store.list_tenants(ctx.tx)]):
        for app, at, fault in _faults_at(ctx, tenant, texts.get(tenant, {})):
            yield f"installation of {app} at {at}", fault


def _faults_at(
    ctx: Context, tenant: TenantId, texts: Mapping[str, str]
) -> Iterator[tuple[AppId, TenantId, str]]:
    """Compare the installations of a tenant with the lines of its sheets."""
    lines: dict[AppId, Line] = {}
    for text in texts.values():
        lines |= sheets.parse(text).lines
    for decisive, each in store.stream_current(ctx.tx, tenant):
        line = lines.pop(each.app, Line())
        if not line.decisive:
            yield each.app, tenant, "It was never signed."
        elif line != sheets.line_of(each, decisive, removed=line.removed):
            yield each.app, tenant, "It does not match what was signed."
    for app, line in lines.items():
        if line.decisive:
            yield app, tenant, "It was signed, but is missing."
