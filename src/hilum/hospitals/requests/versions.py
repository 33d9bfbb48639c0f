"""What a newer certified version of an installed app has more, and its acceptance by the hospital in one step (C215)."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hilum.apps.clients.policy import AUTHENTICATION
from hilum.apps.installations import service as installations
from hilum.apps.installations.models import Installation, WidenOrder
from hilum.apps.installations.policy import may_install, revives
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import AppVersion, Certification, Environment
from hilum.apps.registry.policy import applicant_of, beyond, is_in_force, scope_faults
from hilum.authorization.consent.policy import plain_words
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid
from hilum.foundation.standards.smart.scopes import all_covered, narrow
from hilum.hospitals.requests.catalogue import AppAtHospital, read_app_at
from hilum.hospitals.requests.models import Acceptance, AcceptOrder, NewScope, NewWork, WiderVersion
from hilum.hospitals.requests.policy import with_launch
from hilum.identity.people import service as identity
from hilum.policy.matrix.models import ANY, Book
from hilum.policy.matrix.policy import admit
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event


@dataclass(frozen=True, slots=True)
class _Certified:
    """A certification with the version that it certifies."""

    certification: Certification
    version: AppVersion


def compare(ctx: Context, installation_id: str) -> WiderVersion:
    """Return what the newest certified versions have more than an installation, and than what was certified when it was approved.

    What the hospital left out then is not offered again. Raises NotFound.
    """
    return _compare(ctx, installations.get_installation(ctx, installation_id))


def accept(ctx: Context, order: AcceptOrder) -> Acceptance:
    """Accept a wider version, all of it or a part, and add roles; until then, and for live grants also after it, nothing changes.

    Raises NotFound, NotPermitted, Invalid, Conflict (another difference than the one that was seen, nothing new).
    """
    before = installations.get_installation(ctx, order.installation)
    event = Event("requests.version.accept", tenant=before.tenant, app=before.app)
    if not may_install(ctx.actor, before.tenant):
        raise audit.refusal(ctx, event)
    installations.require_active(ctx, registry.get_app(ctx, before.app))
    wider = _compare(ctx, before)
    if wider.digest != order.digest:
        raise Conflict(
            "changed_since_read",
            "The installation or the app's versions changed since you compared them. Compare them again.",
        )
    if not wider.version:
        raise Conflict("nothing_new", "No newer certified version has anything new.")
    scopes = _accepted(order, wider)
    after = installations.widen(ctx, before.id, WidenOrder(scopes, order.roles - before.roles))
    left_out = _beyond(wider.scopes, scopes)
    facts = {
        "installation": before.id,
        "version": wider.version,
        "scopes": list(scopes),
        "left_out": list(left_out),
    }
    audit.record(ctx, replace(event, facts=facts))
    return Acceptance(after.id, after.app, wider.version, scopes, left_out, after.scopes, after.roles)


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
    return with_launch(order.scopes, wider.scopes)


def _compare(ctx: Context, installation: Installation) -> WiderVersion:
    app = registry.get_app(ctx, installation.app)
    place = read_app_at(ctx, identity.get_tenant(ctx, installation.tenant), app)
    versions = registry.read_versions(ctx, [app.id])
    environments = {installation.environment, Environment.PRODUCTION}
    certified = [
        _Certified(certification, versions[certification.version])
        for certification in registry.certifications_of(ctx, app.id)
        if certification.environment in environments and certification.version in versions
    ]
    # What the hospital could see when it approved. Scopes of these that it left out then are not new.
    before = [each for each in certified if each.certification.certified_at <= installation.approved_at]
    newer = [
        each
        for each in certified
        if each.certification.certified_at > installation.approved_at
        and is_in_force(each.certification, installation.environment, ctx.now)
    ]
    known = (*installation.scopes, *(scope for each in before for scope in each.certification.scopes))
    admitted = _admitted(place, newer)
    scopes = _beyond(admitted, known)
    latest = max(newer, key=lambda each: each.certification.certified_at).version if scopes else None
    return WiderVersion(
        installation.id,
        app.id,
        latest.id if latest else "",
        latest.label if latest else "",
        _digest(installation, latest.id if latest else "", scopes),
        scopes,
        _work(place.book, newer, before, scopes),
        _beyond((scope for each in newer for scope in each.certification.scopes), (*known, *admitted)),
        bool(scopes) and revives(WidenOrder(scopes), installation),
    )


def _beyond(scopes: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Return the scopes that others do not cover."""
    within = tuple(known)
    return tuple(dict.fromkeys(scope for scope in scopes if not all_covered((scope,), within)))


def _admitted(place: AppAtHospital, newer: Sequence[_Certified]) -> tuple[str, ...]:
    """Return what the policy allows of newer versions at the hospital, for clients that authenticate as the app's do."""
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
    """Return new scopes by the workflows that newer versions declare; what none of them needs comes last."""
    declared, held = _workflows(newer), _workflows(before)
    work, rest = [], list(scopes)
    for name, workflow in book.workflows.items():
        needed = [scope for scope in scopes if narrow((scope,), workflow.scopes)]
        if needed and (name in declared or ANY in declared):
            is_new = ANY not in held and name not in held
            work.append(
                NewWork(name, workflow.title, workflow.purpose, is_new, tuple(map(_in_words, needed)))
            )
            rest = [scope for scope in rest if scope not in needed]
    if rest:
        work.append(NewWork("", "", "", is_new=False, scopes=tuple(map(_in_words, rest))))
    return tuple(work)


def _workflows(versions: Sequence[_Certified]) -> set[str]:
    return {name for each in versions for name in each.version.workflows}


def _in_words(scope: str) -> NewScope:
    words = plain_words(scope)
    return NewScope(scope, f"{words.title} {words.reach}".strip(), words.writes)


def _digest(installation: Installation, version: str, scopes: tuple[str, ...]) -> str:
    """Return the digest of a difference, with the installation that it is compared with."""
    held = [installation.id, list(installation.scopes), sorted(installation.roles)]
    return hashlib.sha256(json.dumps([*held, version, list(scopes)]).encode()).hexdigest()[:32]
