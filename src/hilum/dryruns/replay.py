"""One dry run in memory: what it has read, whom the version alters, and what it has found so far. Pure.

Its cost grows with distinct clients and distinct decisions, not with records: a book is asked once about each distinct client, a scope
once about each distinct set of scopes, and clients that the version does not alter are not looked at again.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256

import orjson

from hilum.audit.models import DecisionCount
from hilum.clients.models import ClientFacts
from hilum.consent.models import Authorization
from hilum.dryruns.models import (
    KINDS,
    ROWS_BOUND,
    Agreements,
    AppChange,
    Busy,
    CertificationChange,
    Counted,
    Effect,
    Flip,
    HospitalChange,
    InstallationChange,
    Kind,
    Loss,
    Places,
    Refused,
    Row,
    Start,
    StoredRow,
    Tally,
    Verdict,
)
from hilum.dryruns.policy import (
    agreement_loss,
    as_judged,
    difference,
    effect_of,
    flip_of,
    is_judged,
    loss_of,
    newly_ended,
    quota_bound,
)
from hilum.installations.models import InstallationFacts
from hilum.installations.policy import allowed_scopes
from hilum.kernel.decision import Reason
from hilum.kernel.ids import AppId, ClientId, TenantId
from hilum.policies.models import Book
from hilum.registry.models import Environment

Scopes = tuple[str, ...]
NOT_BUSY: Busy = {}


@dataclass(frozen=True, slots=True)
class _Here:
    """What a client may be granted at a hospital: now, and under the version."""

    before: Scopes
    after: Scopes


@dataclass(slots=True)
class Replay:
    """A dry run that goes on. ``judge`` is called once for each part of ``apps``, then ``hospitals``, then ``digest`` and ``counts``."""

    start: Start
    agreements: Agreements = field(default_factory=dict)
    ends: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    _effects: dict[tuple[ClientId, int], Effect | None] = field(default_factory=dict)
    _altered: dict[AppId, list[ClientFacts]] = field(default_factory=dict)
    _here: dict[tuple[object, ...], _Here] = field(default_factory=dict)
    _hospitals: dict[str, HospitalChange] = field(default_factory=dict)
    _number: int = 0
    _sum: bytes = b""

    def __post_init__(self) -> None:
        """Find the clients that the version alters at any hospital."""
        for facts in self.start.clients:
            if any(self._effects_of(facts)):
                self._altered.setdefault(facts.app, []).append(facts)
        begun = orjson.dumps([self.start.version_digest, self.start.versions.last])
        self._sum = sha256(begun).digest()

    def apps(self) -> list[AppId]:
        """Return the apps with a client that is altered."""
        return list(self._altered)

    def clients_with_other_scopes(self, apps: Collection[AppId] | None = None) -> list[ClientId]:
        """Return the clients (of some apps) that would be admitted to other scopes: only their decisions can turn out differently."""
        chosen = self._altered if apps is None else apps
        return [facts.id for app in chosen for facts in self._altered[app] if self._changes_scopes(facts)]

    def _changes_scopes(self, facts: ClientFacts) -> bool:
        effects = [effect for effect in self._effects_of(facts) if effect is not None]
        return any(effect.changes_scopes or self._lapses(effect) for effect in effects)

    def _lapses(self, effect: Effect | None) -> bool:
        """Check whether the version's shorter life ends a certification at once."""
        return effect is not None and effect.ends <= self.start.now < effect.ends_before

    def _effects_of(self, facts: ClientFacts) -> Iterator[Effect | None]:
        return (self._effect(facts, book) for book in self.start.now_in_force.books())

    def _effect(self, facts: ClientFacts, before: Book) -> Effect | None:
        key = facts.id, id(before)
        if key not in self._effects:
            self._effects[key] = effect_of(facts, before, self.start.candidate)
        return self._effects[key]

    def clients_with_other_lives(self) -> list[ClientId]:
        """Return the clients whose agreements may end at another time."""
        return [
            facts.id
            for of in self._altered.values()
            for facts in of
            if any(effect is not None and effect.changes_lives for effect in self._effects_of(facts))
        ]

    def count_ends(self, agreements: Iterable[Authorization]) -> None:
        """Count the agreements in force that would have ended by now, by hospital and client, and by what ends them."""
        clients = {facts.id: facts for of in self._altered.values() for facts in of}
        for each in agreements:
            facts = clients.get(each.client)
            before = self.start.now_in_force.book_at(each.tenant, self.start.now)
            effect = None if facts is None else self._effect(facts, before)
            if effect is not None and (reason := newly_ended(each, effect, self.start.now)):
                self.ends.setdefault((each.tenant, each.client), Counter())[reason] += 1

    def apps_with_other_quotas(self, apps: Iterable[AppId]) -> dict[AppId, float]:
        """Return those of some apps whose quota shrinks, with the fewest requests in ten minutes that may be beyond it."""
        found: dict[AppId, float] = {}
        for app in apps:
            effects = (effect for facts in self._altered[app] for effect in self._effects_of(facts))
            bounds = [
                bound for each in effects if each is not None and (bound := quota_bound(each)) is not None
            ]
            if bounds:
                found[app] = min(bounds)
        return found

    def judge(
        self, apps: Sequence[AppId], places: Places, decisions: Iterable[DecisionCount], busy: Busy = NOT_BUSY
    ) -> list[Row]:
        """Return what the version alters for some apps, and the decisions about them that would turn out differently."""
        of: dict[str, list[DecisionCount]] = {}
        for each in decisions:
            of.setdefault(each.client, []).append(each)
        rows: list[Row] = []
        for app in apps:
            at = places.get(app, {})
            for facts in self._altered[app]:
                here = {tenant: found for tenant, found in at.items() if _works_at(facts, found)}
                flips = self._flips(facts, here, of.get(facts.id, ()))
                rows += self._about(facts, here, _refused_of(flips), busy)
                rows += flips
        return rows

    # --- what is altered -------------------------------------------------------------------------------------------------------

    def _about(
        self,
        facts: ClientFacts,
        places: Mapping[TenantId, InstallationFacts],
        refused: Mapping[str, int],
        busy: Busy,
    ) -> Iterator[Row]:
        effect = next(each for each in self._effects_of(facts) if each is not None)
        self.tally.apps += 1
        yield AppChange(
            "",
            facts.app,
            facts.id,
            facts.category,
            "" if effect.before.tier is None else effect.before.tier.value,
            "" if effect.after.tier is None else effect.after.tier.value,
            effect.lost,
            effect.gained,
            effect.limits,
            len(places),
        )
        loss = Loss.LAPSES if self._lapses(effect) else loss_of(effect.after.scopes, effect.lost)
        if loss is Loss.NONE and effect.ends < effect.ends_before:
            loss = Loss.SOONER
        if loss is not Loss.NONE:
            yield self._certification(facts, effect, loss, len(places))
        for tenant, installation in places.items():
            own = self._effect(facts, self.start.now_in_force.book_at(tenant, self.start.now))
            if own is not None:
                counted = self._refused(facts, tenant, own, refused.get(tenant, 0), busy)
                yield from self._installation(facts, tenant, installation, own, tuple(counted))

    def _refused(
        self, facts: ClientFacts, tenant: TenantId, effect: Effect, by_scopes: int, busy: Busy
    ) -> Iterator[Refused]:
        """Yield what would have been refused to a client at a hospital, by reason."""
        if by_scopes:
            lapses = self._lapses(effect)
            reason = Reason.APP_NOT_CERTIFIED if lapses else Reason.SCOPE_INSUFFICIENT
            yield Refused(reason.value, by_scopes, Counted.REQUESTS)
        for ended, number in sorted(self.ends.get((tenant, facts.id), {}).items()):
            yield Refused(ended, number, Counted.AGREEMENTS)
        bound = quota_bound(effect)
        over = (
            0
            if bound is None
            else sum(int(each - bound) for each in busy.get((tenant, facts.app), ()) if each > bound)
        )
        if over:
            yield Refused(Reason.QUOTA_EXCEEDED.value, over, Counted.REQUESTS)

    def _certification(self, facts: ClientFacts, effect: Effect, loss: Loss, hospitals: int) -> Row:
        self.tally.certifications_lapsing += loss is Loss.LAPSES
        self.tally.certifications_narrowed += loss is Loss.NARROWED
        return CertificationChange(
            "",
            facts.app,
            facts.id,
            facts.version,
            facts.environment.value,
            loss,
            effect.lost,
            effect.ends,
            hospitals,
        )

    def _installation(
        self,
        facts: ClientFacts,
        tenant: TenantId,
        installation: InstallationFacts,
        effect: Effect,
        refused: tuple[Refused, ...],
    ) -> Iterator[Row]:
        here = self._allowed(facts, tenant, installation)
        lost, gained = difference(here.before, here.after)
        if not (lost or gained or effect.limits):
            return
        loss, hospital = loss_of(here.after, lost), self._hospital(tenant)
        agreements = ended = 0
        for scopes, number in self.agreements.get((tenant, facts.id), {}).items():
            what = agreement_loss(scopes, here.before, here.after)
            agreements += 0 if what is Loss.NONE else number
            ended += number if what is Loss.LAPSES else 0
        hospital.apps += 1
        hospital.lapsing += loss is Loss.LAPSES
        hospital.agreements += agreements
        hospital.ended += ended
        self.tally.agreements += agreements
        self.tally.agreements_ended += ended
        yield InstallationChange(
            tenant, facts.app, facts.id, loss, lost, gained, effect.limits, agreements, ended, refused
        )

    def _allowed(self, facts: ClientFacts, tenant: TenantId, installation: InstallationFacts) -> _Here:
        """Return what a client may be granted at a hospital, computed once for each distinct answer of the books and installation."""
        now = self.start.now_in_force.book_at(tenant, self.start.now)
        effect = self._effect(facts, now)
        lapses = self._lapses(effect)
        # The scopes and not the client: clients that are admitted to the same share one answer.
        answers = facts.id if effect is None else (effect.before.scopes, effect.after.scopes)
        key = answers, lapses, installation.scopes
        found = self._here.get(key)
        if found is None:
            alike = as_judged(facts)
            before = allowed_scopes(alike, installation, now)
            # Standing refuses an app without a certification before its scopes are looked at.
            after = () if lapses else allowed_scopes(alike, installation, self.start.candidate)
            found = _Here(before, after)
            self._here[key] = found
        return found

    def _hospital(self, tenant: str) -> HospitalChange:
        found = self._hospitals.get(tenant)
        if found is None:
            version = self.start.versions.version_at(TenantId(tenant))
            found = self._hospitals[tenant] = HospitalChange(tenant, version)
        return found

    # --- decisions -------------------------------------------------------------------------------------------------------------

    def _flips(
        self,
        facts: ClientFacts,
        places: Mapping[TenantId, InstallationFacts],
        decisions: Iterable[DecisionCount],
    ) -> list[Flip]:
        found: list[Flip] = []
        for decision in decisions:
            tenant = TenantId(decision.tenant)
            installation = places.get(tenant)
            if installation is None or not is_judged(decision):
                self.tally.unjudged += decision.number
                continue
            here = self._allowed(facts, tenant, installation)
            flip = flip_of(decision, here.before, here.after)
            if flip is not None:
                found.append(flip)
                self._count(flip)
        found.sort(
            key=lambda flip: (flip.tenant, flip.verdict, flip.resource_type, flip.interaction, flip.scope)
        )
        return found

    def _count(self, flip: Flip) -> None:
        hospital = self._hospital(flip.tenant)
        self.tally.flips += 1
        for each in (hospital, self.tally):
            match flip.verdict:
                case Verdict.REFUSED:
                    each.refused += flip.number
                case Verdict.LESS:
                    each.less += flip.number
                case Verdict.ALLOWED:
                    each.allowed += flip.number

    # --- the result ------------------------------------------------------------------------------------------------------------

    def hospitals(self) -> list[Row]:
        """Return the hospitals where anything would change, with the numbers of each."""
        self.tally.hospitals = len(self._hospitals)
        return [self._hospitals[tenant] for tenant in sorted(self._hospitals)]

    def numbered(self, rows: Iterable[Row]) -> list[StoredRow]:
        """Add rows to the result, and return those to store."""
        stored: list[StoredRow] = []
        for row in rows:
            self._number += 1
            kind, body = KINDS[type(row)], orjson.dumps(row)
            self._sum = sha256(self._sum + kind.value.encode() + b"\n" + body).digest()
            if self._number > ROWS_BOUND and kind is not Kind.HOSPITAL:
                self.tally.left_out += 1
                continue
            stored.append(StoredRow(self._number, kind, row.tenant, getattr(row, "app", ""), body.decode()))
        return stored

    def digest(self) -> str:
        """Return the digest of the version, of what it was compared with, and of all rows so far, also those that are not stored."""
        return self._sum.hex()

    def counts(self) -> dict[str, int]:
        """Return the numbers of the run."""
        return asdict(self.tally)


def _refused_of(flips: Iterable[Flip]) -> Mapping[str, int]:
    """Return how many requests some flips refuse, by hospital."""
    found: Counter[str] = Counter()
    for flip in flips:
        if flip.verdict is Verdict.REFUSED:
            found[flip.tenant] += flip.number
    return found


def _works_at(facts: ClientFacts, installation: InstallationFacts) -> bool:
    """Check whether a client may act under an installation at all: a sandbox client works only at a sandbox hospital (C4)."""
    return facts.environment is Environment.PRODUCTION or installation.environment is Environment.SANDBOX
