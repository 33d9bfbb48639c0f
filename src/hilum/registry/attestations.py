"""Attestations: signatures over apps and their certifications, added by each change, and verified wherever certifications count."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from threading import Lock

from cachetools import LRUCache

from hilum.attestations import service as rows
from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.infra import unreadable
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict
from hilum.kernel.ids import AppId
from hilum.kernel.lists import counted
from hilum.keys import service as keys
from hilum.keys.models import Purpose
from hilum.registry import attestation_store, catalogue_store, chain, ownership, store
from hilum.registry.models import App, AppState, Attestation, Attested, Certification, Certified

ATTEST_ACTION = "registry.app.attest"
NOTHING_SIGNED = "No app is treated as certified, and none can be certified, until the rows are restored from a backup, or until the operator has reviewed every certification and signed them again on the host (`hilum keys attest`). `hilum doctor` lists what is wrong."
SHOWN_BOUND = 20
"""How many faults of apps are listed."""
_TRIES = 5
_TRAIL_READ = 20
_KEPT = 8
"""Verified chains that a process keeps: the present one, and those that transactions still see."""
_kept: LRUCache[str, Attested] = LRUCache(_KEPT)
"""By the digest of the newest attestation, which covers everything before it."""
_lock = Lock()


# --- what is signed ------------------------------------------------------------------------------------------------------------


def attested(ctx: Context) -> Attested:
    """Return the newest trusted attestation of each app. What this process has verified before is not read again."""
    newest = attestation_store.newest_attestation(ctx.tx)
    if newest is not None:
        with _lock:
            kept = _kept.get(chain.attestation_digest(newest))
        if kept is not None:
            return kept
    # Read the trail before the attestations: an attestation that commits between the two reads must be missing from the trail.
    trail = recorded(ctx)
    newest = attestation_store.newest_attestation(ctx.tx)
    if newest is None:
        return replace(chain.NOTHING, fault=_what_was_deleted(ctx, trail))
    head = chain.attestation_digest(newest)
    if fault := chain.trail_fault(newest.number, head, trail):
        return Attested(newest.number, head, {}, fault)
    signed = chain.attestation_bytes(newest)
    # One signature: each attestation contains the digest of the one before it.
    if not keys.verify_bytes(ctx, Purpose.REGISTRY, newest.kid, signed, newest.signature):
        fault = f"Attestation {newest.number} of certifications does not match what was signed."
        return Attested(newest.number, head, {}, fault)
    before = _before(ctx, newest.number)
    found = chain.fold(
        before, attestation_store.read_attestations(ctx.tx, after=before.last, until=newest.number)
    )
    with _lock:
        _kept[found.head] = found
    return found


def _before(ctx: Context, number: int) -> Attested:
    """Return the longest verified chain that the attestations after it continue."""
    with _lock:
        kept = sorted((each for each in _kept.values() if each.last < number), key=lambda each: -each.last)
    for each in kept:
        following = attestation_store.numbered_attestations(ctx.tx, [each.last + 1])
        if following and following[0].previous == each.head:
            return each
    return chain.NOTHING


def _what_was_deleted(ctx: Context, trail: list[tuple[int, str]]) -> str:
    """Return the fault that all attestations were deleted, if anything shows that some existed."""
    if trail or keys.has_keys(ctx, Purpose.REGISTRY):
        return "Every attestation of certifications is missing, although some were signed."
    return ""


def recorded(ctx: Context, *, limit: int = _TRAIL_READ) -> list[tuple[int, str]]:
    """Return number and digest of the newest attestations in the audit trail, newest first."""
    return rows.recorded(ctx, ATTEST_ACTION, "attestation", limit=limit)


# --- what counts ---------------------------------------------------------------------------------------------------------------


def certified(ctx: Context, of: Collection[AppId] | None) -> Certified:
    """Read some apps (None: all) with their certifications, without those whose signed state does not match."""
    found = _certified(ctx, of)
    for _ in range(_TRIES):
        # A change that commits between two of the reads looks like a fault, but only once.
        if not found.faults:
            return found
        again = _certified(ctx, list(found.faults))
        if again.faults == found.faults:
            return found
        rest = of if of is None else [app for app in of if app not in found.faults]
        found = _certified(ctx, of) if rest is None else _joined(_certified(ctx, rest), again)
    return found


def require_as_signed(ctx: Context, app: AppId) -> None:
    """Check that an app's certifications match what was signed, before a change that needs a reviewer if there are any. Raises Conflict.

    Otherwise they count for nothing, a change would be made without a reviewer, and once the rows are put back it would be certified.
    """
    if fault := certified(ctx, [app]).faults.get(app):
        advice = (
            "The app cannot be changed until the platform's staff have fixed that; `hilum doctor` says how."
        )
        raise Conflict("not_as_signed", f"{fault} {advice}")


def _joined(some: Certified, others: Certified) -> Certified:
    return Certified(
        {**some.apps, **others.apps},
        {**some.versions, **others.versions},
        {**some.certifications, **others.certifications},
        {**some.faults, **others.faults},
        others.last,
        others.head,
    )


def _certified(ctx: Context, of: Collection[AppId] | None) -> Certified:
    signed = attested(ctx)
    versions = store.read_versions(ctx.tx, of)
    by_app: dict[AppId, list[Certification]] = {}
    with unreadable.noting() as left_out:
        apps = store.read_apps(ctx.tx, of)
        for each in store.read_certifications(ctx.tx, of):
            by_app.setdefault(each.app, []).append(each)
    # A certification that was withdrawn must not be overlooked, so all of the app's count for nothing.
    unread = {AppId(each.app or each.id) for each in left_out}
    wanted = signed.apps if of is None else [app for app in of if app in signed.apps]
    faults = {}
    for app in {*by_app, *wanted, *unread}:
        newest = signed.apps.get(app)
        fault = chain.app_mismatch(apps.get(app), by_app.get(app, ()), versions, newest)
        if app in unread or fault:
            faults[app] = f"{chain.UNREADABLE if app in unread else fault} {signed.fault}".strip()
            by_app.pop(app, None)
        elif newest is not None and newest.after:
            by_app[app] = [each for each in by_app.get(app, ()) if each.id > newest.after]
    certifications = {app: tuple(found) for app, found in by_app.items()}
    return Certified(apps, versions, certifications, faults, signed.last, signed.head)


# --- signing -------------------------------------------------------------------------------------------------------------------


def begin(ctx: Context, app: AppId) -> str:
    """Lock an app for a change of what is signed about it; return which certifications count no more (``Attestation.after``).

    Those are the present ones, if they do not match what was signed: a change must not vouch for them. Raises NotFound.
    """
    store.get_app(ctx.tx, app, lock=True)
    found = _certified(ctx, [app])
    if found.faults:
        return store.newest_certification(ctx.tx, app)
    newest = attested(ctx).apps.get(app)
    return "" if newest is None else newest.after


def begin_stop(ctx: Context, app: AppId) -> str | None:
    """Lock an app before it is suspended or resumed; return what ``begin`` returns.

    None if it has no signed state, or one that does not match: then it is not certified, and a suspension must not wait.
    """
    store.get_app(ctx.tx, app, lock=True)
    newest = attested(ctx).apps.get(app)
    return None if newest is None or _certified(ctx, [app]).faults else newest.after


def attest_stops(ctx: Context) -> int:
    """Sign the suspensions that an older release did not sign; return how many. For the platform itself, at each start."""
    found, signed = set[AppId](), attested(ctx)
    suspended = [store.get_app(ctx.tx, app) for app in catalogue_store.suspended_apps(ctx.tx)]
    for stored in suspended:
        app, newest = stored.id, signed.apps.get(stored.id)
        if newest is None:
            continue
        of_app = tuple(store.read_certifications(ctx.tx, [app])), store.read_versions(ctx.tx, [app])
        # The signed state without the suspension, which only removes; an app that was resumed before has a signed suspension.
        resumed = replace(stored, state=AppState.ACTIVE)
        if chain.app_mismatch(stored, *of_app, newest) and chain.app_mismatch(resumed, *of_app, newest):
            continue
        if newest.digest != chain.state_digest(stored, *of_app, newest.after):
            _attest(ctx, app, newest.after, gone=False)
            found.add(app)
    # After all of those, as wherever both are signed.
    for stored in suspended:
        if ownership.sign_stop(ctx, replace(stored, state=AppState.ACTIVE), stored):
            found.add(stored.id)
    return len(found)


def require_category(ctx: Context, app: App) -> None:
    """Check that an app has its signed category. Raises Conflict."""
    newest = attestation_store.newest_attestation(ctx.tx, app.id)
    if newest is not None and newest.digest != chain.GONE and newest.category != app.category:
        detail = (
            f"The category of this app is {app.category} in the database, and {newest.category} was signed. "
            "Find out who changed it, and move the app (`hilum app category`) before it is certified."
        )
        raise Conflict("category_not_as_signed", detail)


def attest(ctx: Context, app: AppId, after: str) -> Attestation:
    """Sign an app's category and certifications as this transaction has them; ``after`` as ``begin`` returned it. Raises Conflict."""
    return _attest(ctx, app, after, gone=False)


def attest_gone(ctx: Context, apps: Iterable[AppId]) -> None:
    """Sign the deletion of those apps that have a signed state."""
    for app in apps:
        newest = attestation_store.newest_attestation(ctx.tx, app)
        if newest is not None and newest.digest != chain.GONE:
            _attest(ctx, app, "", gone=True)


def _attest(ctx: Context, app: AppId, after: str, *, gone: bool) -> Attestation:
    for _ in range(_TRIES):
        found = attested(ctx)
        # What cannot be trusted is not continued.
        if found.fault and not found.apps:
            raise Conflict("registry_not_as_signed", f"{found.fault} {NOTHING_SIGNED}")
        made = _made(ctx, app, after, found, gone=gone)
        # Another process may have added an attestation at this moment: then this one follows it.
        if attestation_store.add_attestations(ctx.tx, [made]):
            head = chain.attestation_digest(made)
            audit.record(ctx, Event(ATTEST_ACTION, app=app, facts={"attestation": made.number, "head": head}))
            return made
    raise Conflict("concurrent_change", "Colleagues changed several apps at the same moment. Try again.")


def _made(ctx: Context, app: AppId, after: str, found: Attested, *, gone: bool) -> Attestation:
    digest, category = chain.GONE, ""
    if not gone:
        stored = store.get_app(ctx.tx, app)
        certifications = store.read_certifications(ctx.tx, [app])
        category = stored.category
        digest = chain.state_digest(stored, certifications, store.read_versions(ctx.tx, [app]), after)
    made = Attestation(found.last + 1, app, category, after, digest, ctx.now, found.head)
    return _signed(made, keys.signer(ctx, Purpose.REGISTRY))


def _signed(made: Attestation, sign: Callable[[bytes], tuple[str, str]]) -> Attestation:
    kid, signature = sign(chain.attestation_bytes(made))
    return replace(made, kid=kid, signature=signature)


def attest_existing(ctx: Context, *, from_scratch: bool = False) -> int:
    """Sign the certifications of all apps as the database has them, and return how many apps those are. For the platform itself.

    Done once, at the first start of a release that signs them. With ``from_scratch`` a new chain begins, after somebody who runs the host has
    looked at every certification, since what was signed before cannot be trusted or is lost. Raises Conflict.
    """
    assert ctx.actor.acts_alone, "people certify, and each certification is signed"
    found = attested(ctx)
    if not from_scratch and (found.last or found.fault):
        return 0
    trail = max((number for number, _ in recorded(ctx)), default=0)
    last, head = max(found.last, trail), chain.BEGINS
    stored, versions = store.read_apps(ctx.tx, None), store.read_versions(ctx.tx, None)
    by_app: dict[AppId, list[Certification]] = {}
    for each in store.read_certifications(ctx.tx, None):
        by_app.setdefault(each.app, []).append(each)
    apps = sorted(app for app in by_app if app in stored)
    # Without anything to sign no key is made: a key without attestations would look like a deletion.
    if not apps:
        return 0
    made, sign = [], keys.signer(ctx, Purpose.REGISTRY)
    for app in apps:
        last += 1
        digest = chain.state_digest(stored[app], by_app[app], versions, "")
        made.append(_signed(Attestation(last, app, stored[app].category, "", digest, ctx.now, head), sign))
        head = chain.attestation_digest(made[-1])
    if not attestation_store.add_attestations(ctx.tx, made):
        raise Conflict("concurrent_change", "Another process certified an app at this moment. Try again.")
    facts = {"attestation": last, "head": head, "apps": len(made), "anew": from_scratch}
    audit.record(ctx, Event(ATTEST_ACTION, facts=facts))
    return len(made)


# --- verification --------------------------------------------------------------------------------------------------------------


def newest_head(ctx: Context) -> tuple[int, str] | None:
    """Return number and digest of the newest attestation, for the anchor; None without any."""
    newest = attestation_store.newest_attestation(ctx.tx)
    return None if newest is None else (newest.number, chain.attestation_digest(newest))


def heads(ctx: Context, numbers: Collection[int]) -> dict[int, str]:
    """Return the digests of the attestations with these numbers, as far as they exist."""
    found = attestation_store.numbered_attestations(ctx.tx, numbers)
    return {each.number: chain.attestation_digest(each) for each in found}


def faults(ctx: Context) -> tuple[str, ...]:
    """Return the faults of attestations, and of every app's category and certifications; at most ``SHOWN_BOUND``."""
    found, signed = certified(ctx, None), attested(ctx)
    of_apps = [f"App {app}: {fault}" for app, fault in sorted(found.faults.items())]
    shown = [*([signed.fault] if signed.fault else []), *of_apps[:SHOWN_BOUND]]
    more = len(of_apps) - SHOWN_BOUND
    return (*shown, *([f"And {counted(more, 'more app')}."] if more > 0 else []))


def record_faults(ctx: Context, found: tuple[str, ...]) -> None:
    """Record what does not match what was signed, when a node starts."""
    audit.record(ctx, Event("registry.app.not_as_signed", facts={"faults": list(found)}))
