"""A client's facts from its version's certifications: their end, and since when they are uninterrupted. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from hilum.apps.clients.admissions import AUTHENTICATION
from hilum.apps.clients.models import Basis, Client, ClientFacts
from hilum.apps.registry.models import App, AppState, AppVersion, Certification, Environment
from hilum.apps.registry.policy import is_in_force, was_reviewed
from hilum.foundation.standards.smart.scopes import all_covered
from hilum.policy.matrix.models import GRACE_DAYS_BOUND


def join(
    client: Client, app: App, version: AppVersion, certifications: Iterable[Certification]
) -> ClientFacts:
    """Return the facts of a client from its app, its version and that app's certifications, including withdrawn ones."""
    certifications = tuple(certifications)
    _, certified_since = certification_of(client, certifications) or (None, None)
    bases = bases_of(client, certifications)
    last = bases[0] if bases else None
    return ClientFacts(
        id=client.id,
        app=app.id,
        version=client.version,
        vendor=app.vendor,
        type=client.type,
        environment=client.environment,
        active=app.state is AppState.ACTIVE,
        expires_at=client.expires_at,
        certified_scopes=last.scopes if last else (),
        certified_until=last.until if last else None,
        certified_at=last.at if last else None,
        origins=client.origins,
        scopes=client.scopes,
        tenant=app.tenant,
        category=app.category,
        certified_tier=last.tier if last else None,
        certified_category=last.category if last else "",
        workflows=version.workflows,
        placements=version.placements,
        optional_scopes=version.optional_scopes,
        autonomy=None if version.ai_use is None else version.ai_use.autonomy,
        population=version.population,
        owner_since=app.owner_since,
        purpose_since=app.purpose_since,
        ask_again_since=app.ask_again_since,
        # The later of the two: an app that was resumed after it had been certified is unbroken only since then.
        since=max(filter(None, (app.active_since, certified_since)), default=None),
        gaps=_gaps(client, app, certifications, certified_since),
        graceless=last is not None and last.graceless,
        also=bases[1:],
        adopted_at=client.adopted_at,
    )


def bases_of(client: Client, certifications: Sequence[Certification]) -> tuple[Basis, ...]:
    """Return what each certification of a client's version grants, the one that ends last first, without redundant ones.

    Each counts by itself: a narrower one that ends later takes nothing away from a wider one (ADR 36).
    """
    found: list[Basis] = []
    eligibility = [each for each in _counting(client, certifications) if each.withdrawn_at is None]
    # Keep expired ones: expiry is judged at each decision, and these facts must not depend on when they are read.
    for each in sorted(
        eligibility, key=lambda each: (each.expires_at, each.certified_at, each.id), reverse=True
    ):
        way = AUTHENTICATION.get(client.type)
        basis = Basis(
            each.scopes,
            each.expires_at,
            _reviewed_at(each, client, certifications),
            each.tiers.get(way) if way else None,
            each.category,
            _was_withdrawn(client, certifications, each.certified_at),
        )
        if not any(_gives_all(other, basis) for other in found):
            found.append(basis)
    return tuple(found)


def _gives_all(one: Basis, other: Basis) -> bool:
    """Check whether another certification grants everything that this one does, for as long, under any policy."""
    # Of the same scopes, tier and category only: another tier has another entry, with a life and a grace of its own.
    alike = (one.tier, one.category) == (other.tier, other.category) and (
        one.scopes == other.scopes
        or (all_covered(one.scopes, other.scopes) and all_covered(other.scopes, one.scopes))
    )
    return alike and _ends_no_sooner(one, other)


def _ends_no_sooner(one: Basis, other: Basis) -> bool:
    if one.until is None or one.at is None or other.until is None or other.at is None:
        return False
    return one.until >= other.until and one.at >= other.at and one.graceless <= other.graceless


def _was_withdrawn(
    client: Client,
    certifications: Iterable[Certification],
    since: datetime,
    until: datetime | None = None,
) -> bool:
    """Check whether a certification of a client's version was withdrawn within a time."""
    withdrawn = (each.withdrawn_at for each in _counting(client, certifications))
    return any(at is not None and since <= at and (until is None or at <= until) for at in withdrawn)


def _gaps(
    client: Client, app: App, certifications: Sequence[Certification], since: datetime | None
) -> tuple[tuple[timedelta, datetime], ...]:
    """Return since when a client was certified if gaps between certifications do not count, newest first, each with its longest gap.

    A grace bridges a gap only if nothing was withdrawn before it was over, and no later than the longest that a policy may state.
    """
    found: list[tuple[timedelta, datetime]] = []
    longest = timedelta(0)
    while since is not None:
        # Adopting another version is not a gap, and before it this version's certifications say nothing.
        if _before_adoption(client, since) is not None:
            break
        at = since
        earlier = [each for each in _counting(client, certifications) if each.certified_at < at]
        before = max(earlier, key=lambda each: each.expires_at, default=None)
        if before is None or _was_withdrawn(client, certifications, before.certified_at, at):
            break
        longest = max(longest, at - before.expires_at)
        if longest > timedelta(days=GRACE_DAYS_BOUND):
            break
        since = before.certified_at
        if (under_predecessor := _before_adoption(client, since)) is not None:
            since = min(since, under_predecessor)
        found.append((longest, max(since, app.active_since) if app.active_since else since))
    return tuple(found)


def _counting(client: Client, certifications: Iterable[Certification]) -> list[Certification]:
    """Return the certifications of a client's version that count for its environment, including withdrawn ones."""
    environments = {client.environment, Environment.PRODUCTION}
    return [
        each for each in certifications if each.version == client.version and each.environment in environments
    ]


def _reviewed_at(last: Certification, client: Client, certifications: Iterable[Certification]) -> datetime:
    """Return when review last certified at least what ``last`` certifies: a later certification may end sooner than ``last``.

    What was enabled without a review (the regulated lane) says nothing about what was reviewed.
    """
    again = (
        each
        for each in _counting(client, certifications)
        if each.withdrawn_at is None
        and was_reviewed(each) >= was_reviewed(last)
        and (each.scopes == last.scopes or all_covered(last.scopes, each.scopes))
    )
    return max(each.certified_at for each in (last, *again))


def certification_of(
    client: Client, certifications: Iterable[Certification]
) -> tuple[Certification, datetime] | None:
    """Return the certification in force that ends last, and since when the client has been certified without interruption; or None.

    A certification continues another if it was made before the other ended. Adopting a version continues the previous one's.
    """
    counting = _counting(client, certifications)
    # Expired ones stay in: whether it has expired is judged at each decision, and these facts must not depend
    # on when they are read.
    in_force = (each for each in counting if each.withdrawn_at is None)
    last = max(in_force, key=lambda each: each.expires_at, default=None)
    if last is None:
        return None
    since = last.certified_at
    # Backwards from the newest: each certification that was in
    # force when the next one began extends the unbroken time.
    for each in sorted(counting, key=lambda each: each.certified_at, reverse=True):
        withdrawn = each.withdrawn_at is not None and each.withdrawn_at <= since
        if each.certified_at <= since <= each.expires_at and not withdrawn:
            since = each.certified_at
    # Adopting another certified version is not a break (C5),
    # if the new version's time covers the moment of adoption.
    if (earlier := _before_adoption(client, since)) is not None:
        since = earlier
    return last, since


def _before_adoption(client: Client, since: datetime) -> datetime | None:
    """Return since when a client was certified with its version before, if it adopted this one at or after ``since``; else None."""
    has_adopted = client.adopted_at is not None and since <= client.adopted_at
    return client.certified_before if has_adopted else None


def is_certified_for_production(
    client: Client, certifications: Iterable[Certification], now: datetime, grace: timedelta
) -> bool:
    """Check whether a client may work at production tenants now, so that an edit of it must be reviewed first (C12).

    ``grace``: the longest that any policy in force gives it after the end of its certification.
    """
    if client.environment is not Environment.PRODUCTION:
        return False
    of_version = (each for each in certifications if each.version == client.version)
    return any(is_in_force(each, Environment.PRODUCTION, now - grace) for each in of_version)
