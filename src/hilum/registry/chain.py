"""The signed state of an app's category, suspension and certifications, and the chain of attestations. Pure.

Each attestation contains the digest of the one before it, so the newest signature covers all of them. A tail that is cut off is shown by
the audit trail and the anchor, which have number and digest.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import astuple

import orjson

from hilum.kernel.ids import AppId, VersionId
from hilum.registry.models import App, AppState, AppVersion, Attestation, Attested, Certification

BEGINS = ""
"""``previous`` of an attestation that begins a chain: the first, or one after an untrusted chain."""
GONE = ""
"""The digest of an app that was deleted."""
NOT_ATTESTED = "Its certifications were never signed."
NOT_AS_SIGNED = "Its suspension or its certifications do not match what was signed."
UNREADABLE = "A row of it, or of a certification, has a value that cannot be read."


def state_digest(
    app: App,
    certifications: Iterable[Certification],
    versions: Mapping[VersionId, AppVersion],
    after: str,
    *,
    with_stop: bool = True,
) -> str:
    """Return the digest of an app's category, suspension and certifications, with what their versions declare, as they are stored.

    ``with_stop`` False: as releases before signed it, without the suspension.
    """
    stop = _stop(app) if with_stop else []
    parts = [
        _certification(each, versions.get(each.version))
        for each in sorted(certifications, key=lambda each: each.id)
        if each.id > after
    ]
    return hashlib.sha256(orjson.dumps([app.id, app.category, after, parts, *stop])).hexdigest()


def _stop(app: App) -> list[object]:
    """Return the signed part of a suspension and its end; empty for an app that never had one, whose older signatures stay valid."""
    if app.state is AppState.ACTIVE and app.active_since == app.created_at:
        return []
    return [[app.state.value, "" if app.active_since is None else app.active_since.isoformat()]]


def _certification(each: Certification, version: AppVersion | None) -> list[object]:
    withdrawn = each.withdrawn_at
    return [
        each.id,
        each.version,
        each.environment.value,
        each.scopes,
        each.category,
        sorted(f"{way}={tier}" for way, tier in each.tiers.items()),
        each.certified_by,
        each.certified_at.isoformat(),
        each.expires_at.isoformat(),
        "" if withdrawn is None else withdrawn.isoformat(),
        # What a version declares decides its tier.
        None if version is None else _version(version),
        # Only if there is one, so that signatures from before submissions stay valid.
        *([each.submission] if each.submission else []),
    ]


def _version(version: AppVersion) -> list[object]:
    ai, raised = version.ai_use, version.raised
    return [
        version.app,
        version.workflows,
        version.placements,
        None if ai is None else list(astuple(ai)),
        None
        if raised is None
        else [raised.tier, raised.reason, raised.raised_by, raised.raised_at.isoformat()],
        # Only if it is declared, so that older signatures stay valid.
        *([version.population.value] if version.population else []),
    ]


def attestation_bytes(made: Attestation) -> bytes:
    """Return the signed bytes of an attestation: every field, including the digest of the one before it."""
    fields = [
        made.number,
        made.app,
        made.category,
        made.after,
        made.digest,
        made.made_at.isoformat(),
        made.previous,
    ]
    # Of what somebody wrote, too: it is a fault, and no error.
    return orjson.dumps(["attestation", *fields], default=str)


def attestation_digest(made: Attestation) -> str:
    """Return the digest of an attestation, as the next one, the audit trail and the anchor contain it."""
    signed = attestation_bytes(made)
    return hashlib.sha256(signed + f"\n{made.kid}\n{made.signature}".encode()).hexdigest()


def fold(before: Attested, rows: Iterable[Attestation]) -> Attested:
    """Add attestations, in the order of their numbers, to what was attested before.

    Where one is missing or does not follow the one before it, the missing one may have been about any app whose newest attestation is older:
    none of those counts.
    """
    apps: dict[AppId, Attestation] = dict(before.apps)
    last, head, fault = before.last, before.head, before.fault
    for each in rows:
        if each.previous == BEGINS:
            # The part that two chains have in common is evidence, not a fault.
            apps, fault = {}, _begins_fault(each, last)
        elif each.number != last + 1:
            apps, fault = {}, f"Attestations {last + 1} to {each.number - 1} of certifications are missing."
        elif each.previous != head:
            apps, fault = (
                {},
                f"Attestation {each.number} of certifications does not follow number {last} as it is.",
            )
        apps[each.app] = each
        last, head = each.number, attestation_digest(each)
    return Attested(last, head, apps, fault)


def _begins_fault(each: Attestation, last: int) -> str:
    return (
        ""
        if each.number == last + 1
        else f"Attestations {last + 1} to {each.number - 1} of certifications are missing."
    )


def trail_fault(last: int, head: str, trail: Iterable[tuple[int, str]]) -> str:
    """Return why the newest attestation differs from the newest one in the audit trail; empty if it does not, or if the trail has none."""
    number, recorded = max(trail, default=(0, head))
    if number > last:
        return f"Attestations {last + 1} to {number} of certifications are missing: the audit trail has their records."
    if number == last and recorded != head:
        return f"Attestation {last} of certifications is not the one in the audit trail."
    return ""


NOTHING = Attested(0, BEGINS, {})


def app_mismatch(
    app: App | None,
    certifications: Iterable[Certification],
    versions: Mapping[VersionId, AppVersion],
    newest: Attestation | None,
) -> str:
    """Return why an app's category and certifications do not match their signed state; empty if they do, or if there are none."""
    certifications = tuple(certifications)
    if newest is None:
        return NOT_ATTESTED if certifications else ""
    if app is None:
        return "" if newest.digest == GONE else "It is missing, although it was certified."
    if newest.digest == GONE:
        return "It was deleted, but has reappeared."
    if newest.category != app.category:
        return f"Its category is {app.category}, but {newest.category} was signed."
    try:
        digests = {
            state_digest(app, certifications, versions, newest.after, with_stop=each)
            for each in (True, False)
        }
    # Of a value that Hilum never writes there is no digest.
    except (AttributeError, TypeError, ValueError):
        return NOT_AS_SIGNED
    # A state signed without a suspension does not cover it; one signed with it matches only that one.
    return "" if newest.digest in digests else NOT_AS_SIGNED
