"""What a newer certified version of an installed app has more, and its acceptance by the hospital in one step (C215)."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.clients.policy import AUTHENTICATION
from hilum.consent.policy import plain_words
from hilum.identity import service as identity
from hilum.infra.context import Context
from hilum.installations import service as installations
from hilum.installations.models import Installation, WidenOrder
from hilum.installations.policy import may_install, revives
from hilum.kernel.errors import Conflict, Invalid
from hilum.policies.models import ANY, Book
from hilum.policies.policy import admit
from hilum.registry import service as registry
from hilum.registry.models import AppVersion, Certification, Environment
from hilum.registry.policy import applicant_of, beyond, is_in_force, scope_faults
from hilum.requests import store
from hilum.requests.facts import AppAtHospital, read_app_at
from hilum.requests.models import Acceptance, AcceptOrder, NewScope, NewWork, WiderVersion
from hilum.standards.smart.scopes import LAUNCH_AND_IDENTITY, all_covered, narrow


@dataclass(frozen=True, slots=True)
class _Certified:
    """A certification with the version that it certifies."""

    certification: Certification
    version: AppVersion


def compare(ctx: Context, installation_id: str) -> WiderVersion:
    """Return what the newest certified version has more than an installation, and than what was certified when it was last approved.

    What the hospital left out then is not offered again. Raises NotFound.
    """
    return _compared(ctx, installations.get_installation(ctx, installation_id))


def accept(ctx: Context, order: AcceptOrder) -> tuple[Acceptance, Installation]:
    """Accept a wider version, all of it or a part, and add roles; until then, and for live grants also after it, nothing changes.

    Raises NotFound, NotPermitted, Invalid, Conflict (another difference than the one that was seen, nothing new).
    """
    before = installations.get_installation(ctx, order.installation)
    event = Event("requests.version.accept", tenant=before.tenant, app=before.app)
    if not may_install(ctx.actor, before.tenant):
        raise audit.refusal(ctx, event)
    installations.require_active(ctx, registry.get_app(ctx, before.app))
    wider = _compared(ctx, before)
    if wider.digest != order.digest:
        raise Conflict(
            "changed_since_read",
            "The installation or the app's versions changed since you compared them. Compare them again.",
        )
    if not wider.version:
        raise Conflict("nothing_new", "No newer certified version has anything new.")
    scopes = _accepted(order, wider)
    after = before
    if scopes or order.roles - before.roles:
        after = installations.widen(ctx, before.id, WidenOrder(scopes, order.roles - before.roles))
    acceptance = Acceptance(
        id=ctx.ids.new("acc"),
        installation=before.id,
        tenant=before.tenant,
        app=before.app,
        version=wider.version,
        scopes=scopes,
        roles=order.roles - before.roles,
        left_out=tuple(each for each in wider.scopes if not all_covered((each,), scopes)),
        accepted_by=str(ctx.actor),
        accepted_at=ctx.now,
    )
    store.add_acceptance(ctx.tx, acceptance)
    facts = {
        "installation": before.id,
        "version": wider.version,
        "scopes": list(scopes),
        "left_out": list(acceptance.left_out),
    }
    audit.record(ctx, Event(event.action, tenant=before.tenant, app=before.app, facts=facts))
    return acceptance, after


def _accepted(order: AcceptOrder, wider: WiderVersion) -> tuple[str, ...]:
    """Return the scopes that are accepted, with those of launch and identity. Raises Invalid."""
    if order.scopes is None:
        return wider.scopes
    faults = scope_faults(order.scopes) if order.scopes else {}
    if not faults and not all_covered(order.scopes, wider.scopes):
        faults["scopes"] = "not_new"
    if faults:
        detail = f"Only what is new can be accepted. {beyond(order.scopes, wider.scopes, allowed_as='new')}"
        raise Invalid("acceptance_invalid", detail.strip(), fields=faults)
    # They reach no record, and without them what is accepted could not be used.
    launch = (each for each in wider.scopes if each in LAUNCH_AND_IDENTITY)
    return tuple(dict.fromkeys((*launch, *order.scopes)))


def _compared(ctx: Context, installation: Installation) -> WiderVersion:
    app = registry.get_app(ctx, installation.app)
    place = read_app_at(ctx, identity.get_tenant(ctx, installation.tenant), app)
    approved_at = max(
        filter(None, (installation.approved_at, store.last_accepted_at(ctx.tx, installation.id)))
    )
    versions = registry.read_versions(ctx, [app.id])
    found = [
        _Certified(each, versions[each.version])
        for each in registry.certifications_of(ctx, app.id)
        if each.environment in {installation.environment, Environment.PRODUCTION} and each.version in versions
    ]
    # What the hospital could see when it approved. Scopes of these that it left out then are not new.
    before = [each for each in found if each.certification.certified_at <= approved_at]
    newer = [
        each
        for each in found
        if each.certification.certified_at > approved_at
        and is_in_force(each.certification, installation.environment, ctx.now)
    ]
    known = (*installation.scopes, *(scope for each in before for scope in each.certification.scopes))
    admitted = _admitted(place, newer)
    scopes = _beyond(admitted, known)
    asked = (scope for each in newer for scope in each.certification.scopes)
    work = _work(place.book, newer, before, scopes)
    latest = max(newer, key=lambda each: each.certification.certified_at, default=None)
    if latest is None or not (scopes or work):
        return WiderVersion(installation.id, app.id, "", "", _digest(installation, "", (), ()))
    return WiderVersion(
        installation.id,
        app.id,
        latest.version.id,
        latest.version.label,
        _digest(installation, latest.version.id, scopes, work),
        scopes,
        work,
        _beyond(asked, (*known, *admitted)),
        bool(scopes) and revives(WidenOrder(scopes), installation),
    )


def _beyond(scopes: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return the scopes that others do not cover."""
    within = tuple(known)
    return tuple(dict.fromkeys(each for each in scopes if not all_covered((each,), within)))


def _admitted(place: AppAtHospital, newer: Sequence[_Certified]) -> tuple[str, ...]:
    """Return what the rule book allows of newer versions at the hospital, for clients that authenticate as the app's do."""
    # By the version and not by the client: its vendor adopts it for the client when hospitals have accepted it.
    ways = {AUTHENTICATION.get(each.type) for each in place.clients}
    found: dict[str, None] = {}
    for each in newer:
        certification, version = each.certification, each.version
        for way, tier in certification.tiers.items():
            if way in ways:
                applicant = replace(
                    applicant_of(place.app, version, certification.scopes),
                    authentication=way,
                    certified_tier=tier,
                    certified_category=certification.category,
                )
                found |= dict.fromkeys(admit(place.book, applicant).scopes)
    return tuple(found)


def _work(
    book: Book, newer: Sequence[_Certified], before: Sequence[_Certified], scopes: tuple[str, ...]
) -> tuple[NewWork, ...]:
    """Return what is new by the workflows that newer versions declare; what none of them needs comes last."""
    declared, held = _workflows(newer), _workflows(before)
    names = [name for name in book.workflows if name in declared or ANY in declared]
    found: list[NewWork] = []
    placed: set[str] = set()
    for name in names:
        workflow = book.workflows[name]
        needed = [each for each in scopes if narrow((each,), workflow.scopes or ())]
        is_new = ANY not in held and name not in held
        if needed or is_new:
            new = tuple(map(_in_words, needed))
            found.append(NewWork(name, workflow.title, workflow.purpose, is_new, new))
        placed |= set(needed)
    rest = tuple(_in_words(each) for each in scopes if each not in placed)
    return (*found, NewWork("", "", "", is_new=False, scopes=rest)) if rest else tuple(found)


def _workflows(versions: Sequence[_Certified]) -> set[str]:
    return {name for each in versions for name in each.version.workflows}


def _in_words(scope: str) -> NewScope:
    words = plain_words(scope)
    return NewScope(scope, f"{words.title} {words.reach}".strip(), words.writes)


def _digest(
    installation: Installation, version: str, scopes: tuple[str, ...], work: tuple[NewWork, ...]
) -> str:
    """Return the digest of a difference, with the installation that it is compared with."""
    held = [installation.id, list(installation.scopes), sorted(installation.roles)]
    parts = [*held, version, list(scopes), [[each.name, each.is_new] for each in work]]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
