"""One dry run in memory: its inputs, the affected clients, and the results so far. Pure.

Its cost grows with distinct clients and distinct decisions, not with records: a policy is asked once about each distinct client, a scope
once about each distinct set of scopes, and clients that the version does not alter are not looked at again.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from hashlib import sha256
from operator import attrgetter
from typing import Any

import orjson

from hilum.apps.clients.models import ClientFacts
from hilum.apps.installations.models import InstallationFacts
from hilum.apps.installations.policy import allowed_scopes
from hilum.authorization.consent.models import Authorization
from hilum.authorization.tokens.models import TokenFamily
from hilum.controls.switches.models import Quota
from hilum.foundation.kernel.batches import batched
from hilum.foundation.kernel.decision import Reason
from hilum.foundation.kernel.ids import AppId, ClientId, TenantId, VendorId
from hilum.operations.dry_runs.books import Books, BooksAt
from hilum.operations.dry_runs.lapsing import (
    certificate_lapse,
    climbed,
    ended_exceptions,
    gap_lapse,
    lapses_at,
    missing_proofs,
    proofs_asked,
)
from hilum.operations.dry_runs.models import (
    KINDS,
    PACKED_ROWS,
    ROWS_BOUND,
    Agreements,
    AppChange,
    Between,
    Calls,
    CertificationChange,
    Counted,
    DecisionChange,
    Effect,
    HospitalChange,
    InstallationChange,
    Kind,
    Lapse,
    Launched,
    LimitChange,
    Loss,
    Pack,
    Places,
    QuotaTrial,
    Refused,
    Row,
    RunTotals,
    Start,
    Turn,
    Verdict,
)
from hilum.operations.dry_runs.policy import (
    agreement_loss,
    changed_decision,
    difference,
    is_judged,
    is_limited,
    judged_by,
    launch_fault,
    limits_at,
    loss_of,
    may_turn,
    newly_ended,
    newly_missing,
    newly_old,
    quota_at,
    refused_of,
    turn_of,
    works_at,
)
from hilum.operations.dry_runs.quotas import try_quota
from hilum.records.audit.models import DecisionCount, DecisionShape
from hilum.review.recertification.models import Climb

Scopes = tuple[str, ...]
UNJUDGED: Turn = (Verdict.ALLOWED, "the scopes that gave it are not on record")
"""Marks a decision that cannot be judged again; recognized by its identity."""
REFUSED_KEPT = 10_000
"""Distinct numbers of refusals that are cached."""
_NAMES = {kind: kind.value.encode() for kind in Kind}
_ORDER = {
    kind: place
    for place, kind in enumerate(
        (Kind.APP, Kind.CERTIFICATION, Kind.LAPSE, Kind.INSTALLATION, Kind.DECISION_CHANGE, Kind.HOSPITAL)
    )
}
"""The order of kinds: of more rows than are stored the last ones are decision_changes, of which there are the most."""


@dataclass(frozen=True, slots=True)
class _Here:
    """What a client may be granted at a hospital, now and under the version; and what it loses and gains."""

    before: Scopes
    after: Scopes
    lost: Scopes
    gained: Scopes
    loss: Loss


@dataclass(slots=True)
class Replay:
    """A running dry run. Call ``judge`` once for each batch of ``apps``, then ``hospitals``, then ``digest`` and ``counts``."""

    start: Start
    agreements: Agreements = field(default_factory=dict)
    launched: Launched = field(default_factory=dict)
    between: Between = field(default_factory=dict)
    unproved: Mapping[AppId, Collection[str]] = field(default_factory=dict)
    ends: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    totals: RunTotals = field(default_factory=RunTotals)
    families: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    books: BooksAt = field(init=False)
    _altered: dict[AppId, list[ClientFacts]] = field(default_factory=dict)
    _here: dict[tuple[object, ...], _Here] = field(default_factory=dict)
    _near: dict[tuple[int, int], tuple[Effect | None, Scopes, _Here]] = field(default_factory=dict)
    _launch_faults: dict[tuple[object, ...], str] = field(default_factory=dict)
    _hospitals: dict[str, HospitalChange] = field(default_factory=dict)
    _calls: Calls = field(default_factory=dict)
    _number: int = 0
    _hash: Any = field(default_factory=sha256)

    def __post_init__(self) -> None:
        """Find the clients that the version affects at any hospital."""
        start = self.start
        self.books = BooksAt(start.now_in_force, start.candidate, start.now)
        for facts in self.start.clients:
            if any(self._effects_of(facts)):
                self._altered.setdefault(facts.app, []).append(facts)
        self._hash.update(orjson.dumps([self.start.version_digest, self.start.versions.last]))

    def apps(self) -> list[AppId]:
        """Return the apps with an affected client."""
        return list(self._altered)

    def clients_with_other_scopes(self, apps: Collection[AppId] | None = None) -> list[ClientId]:
        """Return the clients, of some apps, whose admitted scopes would change: only their decisions can change."""
        chosen = self._altered if apps is None else apps
        return [facts.id for app in chosen for facts in self._altered[app] if self._changes_scopes(facts)]

    def _changes_scopes(self, facts: ClientFacts) -> bool:
        return any(effect.changes_scopes or self._lapses(effect) for effect in self._effects_of(facts))

    def matters(self, apps: Collection[AppId]) -> Callable[[DecisionShape], bool]:
        """Return whether decisions of a shape about some apps may turn out differently; for another thread."""
        effects = {
            facts.id: [(effect, self._lapses(effect)) for effect in self._effects_of(facts)]
            for app in apps
            for facts in self._altered[app]
        }
        return lambda shape: any(
            may_turn(shape, effect, lapses=lapses)
            for effect, lapses in effects.get(ClientId(shape.client), ())
        )

    def _lapses(self, effect: Effect | None) -> bool:
        """Check whether the version's shorter life or grace ends a certification at once."""
        return effect is not None and effect.served <= self.start.now < effect.served_before

    def _effects_of(self, facts: ClientFacts) -> list[Effect]:
        """Return what the version alters for a client, wherever another policy is in force for its app."""
        return [effect for each in self.books.of(facts.app) if (effect := each.effect(facts)) is not None]

    def _leading(self, facts: ClientFacts) -> Effect:
        """Return what the version alters for a client where it is certified; of several such places, at the first."""
        effects, now = self._effects_of(facts), self.start.now
        return next((each for each in effects if now < each.served_before), effects[0])

    def clients_with_other_lives(self) -> list[ClientId]:
        """Return the clients whose agreements may end at another time."""
        return [facts.id for facts, effects in self._with_effects() if any(e.changes_lives for e in effects)]

    def clients_with_other_launches(self) -> list[ClientId]:
        """Return the clients whose launches may be refused for another workflow or place."""
        return [
            facts.id for facts, effects in self._with_effects() if any(e.changes_launches for e in effects)
        ]

    def vendors_asked_for_more(self) -> list[VendorId]:
        """Return the vendors that would need agreements with hospitals which they did not need."""
        found = (
            facts.vendor for facts, effects in self._with_effects() if any(e.asks_agreements for e in effects)
        )
        return list(dict.fromkeys(found))

    def asked_for_proofs(self) -> list[AppId]:
        """Return the apps whose vendors must prove something that they need not now."""
        found = (
            facts.app
            for facts, effects in self._with_effects()
            if any(proofs_asked(facts, e) for e in effects)
        )
        return list(dict.fromkeys(found))

    def _with_effects(self) -> Iterator[tuple[ClientFacts, list[Effect]]]:
        for facts in self.altered():
            yield facts, self._effects_of(facts)

    def altered(self) -> Iterator[ClientFacts]:
        """Yield the affected clients."""
        return (facts for of in self._altered.values() for facts in of)

    def count_ends(self, agreements: Iterable[Authorization], families: Iterable[TokenFamily]) -> None:
        """Count the agreements in force that would have ended by now, by hospital and client, and by what ends them.

        Of those that continue, what could no longer be refreshed.
        """
        clients = {facts.id: facts for facts in self.altered()}
        going_on: dict[str, tuple[tuple[str, str], Effect]] = {}
        for each in agreements:
            facts = clients.get(each.client)
            effect = None if facts is None else self.books.at(each.tenant, facts.app).effect(facts)
            if effect is None:
                continue
            if reason := newly_ended(each, effect, self.start.now):
                self.ends.setdefault((each.tenant, each.client), Counter())[reason] += 1
            else:
                going_on[each.id] = (each.tenant, each.client), effect
        for family in families:
            place, effect = going_on.get(family.authorization, (None, None))
            if (
                place is not None
                and effect is not None
                and (reason := newly_old(family, effect, self.start.now))
            ):
                self.families.setdefault(place, Counter())[reason] += 1

    def clients_with_other_quotas(self, apps: Collection[AppId] | None = None) -> dict[ClientId, AppId]:
        """Return the clients, of some apps, for which the version has another quota."""
        chosen = self._altered if apps is None else apps
        altered = (facts for app in chosen for facts in self._altered[app])
        return {each.id: each.app for each in altered if any(e.changes_quota for e in self._effects_of(each))}

    def judge(
        self, apps: Sequence[AppId], places: Places, decisions: Iterable[DecisionCount], calls: Calls
    ) -> list[Row]:
        """Return the version's effects on some apps, and the decisions about them that would change."""
        self._calls = calls
        of_client: dict[str, list[DecisionCount]] = {}
        for each in decisions:
            of_client.setdefault(each.client, []).append(each)
        rows: list[Row] = []
        for app in apps:
            at = places.get(app, {})
            for facts in self._altered[app]:
                here = {tenant: found for tenant, found in at.items() if works_at(facts, found)}
                decision_changes = self._decision_changes(facts, here, of_client.get(facts.id, ()))
                rows += self._about(facts, here, decision_changes)
                rows += decision_changes
        return rows

    # --- what is altered -------------------------------------------------------------------------------------------------------

    def _about(
        self,
        facts: ClientFacts,
        places: Mapping[TenantId, InstallationFacts],
        decision_changes: Iterable[DecisionChange],
    ) -> Iterator[Row]:
        effect = self._leading(facts)
        self.totals.apps += 1
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
        if loss is Loss.NONE and (effect.ends < effect.ends_before or effect.served < effect.served_before):
            loss = Loss.SOONER
        if loss is not Loss.NONE:
            yield self._certification(facts, effect, loss, len(places))
        ended = certificate_lapse(facts, effect, len(places), self.start.now)
        gap = gap_lapse(facts, effect, len(places))
        unproved = self.unproved.get(facts.app, ())
        wanting = missing_proofs(facts, effect, unproved, self.start.now) if unproved else None
        yield from self._listed(each for each in (ended, gap, wanting) if each is not None)
        yield from self._places(facts, places, refused_of(decision_changes))

    def _listed(self, lapses: Iterable[Lapse]) -> Iterator[Lapse]:
        """Yield lapses, and count them."""
        for each in lapses:
            self.totals.lapses += 1
            yield each

    def everywhere(self, climbs: Iterable[Climb]) -> list[Row]:
        """Return what lapses whatever becomes of scopes: what two people allowed, and what the escalation would do of apps with overdue findings."""
        return [*self._listed(ended_exceptions(self.books)), *self._listed(map(climbed, climbs))]

    def _places(
        self,
        facts: ClientFacts,
        places: Mapping[TenantId, InstallationFacts],
        refused: Mapping[str, int],
    ) -> Iterator[Row]:
        """Yield the effects on a client, hospital by hospital."""
        find = self.books.finder(facts.app)
        last, limited = None, False
        for tenant, installation in places.items():
            books = find(tenant)
            own = books.effect(facts)
            if own is None:
                continue
            # There are a million places, and a few effects.
            if own is not last:
                last, limited = own, is_limited(own)
            here = self._allowed(facts, books, installation, own)
            levels = self.start.quotas.overrides.get((facts.app, tenant))
            limits = limits_at(own, levels)
            if not (here.lost or here.gained or limits):
                continue
            quota = self._quota(facts, tenant, quota_at(own, levels))
            counted: tuple[Refused, ...] = ()
            at = tenant, facts.id
            if limited or tenant in refused or at in self.ends or at in self.families:
                lacking = self._lacking(facts, tenant, books, own, installation)
                counted = (
                    *self._refused(facts, tenant, own, refused.get(tenant, 0), quota),
                    *self._refused_to_begin(facts, tenant, books, own, installation),
                    *(
                        [Refused(Reason.AGREEMENT_MISSING.value, len(lacking), Counted.MISSING)]
                        if lacking
                        else []
                    ),
                )
                yield from self._listed(lapses_at(tenant, facts, counted, lacking))
            yield self._installation(facts, tenant, here, limits=limits, refused=counted, quota=quota)

    def _quota(self, facts: ClientFacts, tenant: TenantId, quota: Quota | None) -> QuotaTrial | None:
        """Try another quota of a client at a hospital on its calls there, and count what changes."""
        if quota is None:
            return None
        if (calls := self._calls.get(facts.id)) is None:
            self.totals.quotas_untried += 1
            return None
        tried = try_quota(quota, calls.at.get(tenant, ()), calls.since)
        for each in (self._hospital(tenant), self.totals):
            each.over_quota += tried.refused
            each.within_quota += tried.permitted
        return tried

    def _lacking(
        self,
        facts: ClientFacts,
        tenant: TenantId,
        books: Books,
        effect: Effect,
        installation: InstallationFacts,
    ) -> frozenset[str]:
        """Return the agreements that vendor and hospital would newly need."""
        if not effect.asks_agreements:
            return frozenset()
        in_force = self.between.get((facts.vendor, tenant), frozenset())
        return newly_missing(facts, installation, books.before, books.after, in_force, now=self.start.now)

    def _refused(
        self, facts: ClientFacts, tenant: TenantId, effect: Effect, by_scopes: int, quota: QuotaTrial | None
    ) -> Iterator[Refused]:
        """Yield a client's refusals at a hospital, by reason."""
        if by_scopes:
            lapses = self._lapses(effect)
            reason = Reason.APP_NOT_CERTIFIED if lapses else Reason.SCOPE_INSUFFICIENT
            yield refused_for(reason.value, by_scopes, Counted.REQUESTS)
        for ended, number in sorted(self.ends.get((tenant, facts.id), {}).items()):
            yield Refused(ended, number, Counted.AGREEMENTS)
        for old, number in sorted(self.families.get((tenant, facts.id), {}).items()):
            yield Refused(old, number, Counted.FAMILIES)
        if quota is not None and quota.refused:
            yield Refused(Reason.QUOTA_EXCEEDED.value, quota.refused, Counted.REQUESTS)

    def _refused_to_begin(
        self,
        facts: ClientFacts,
        tenant: TenantId,
        books: Books,
        effect: Effect,
        installation: InstallationFacts,
    ) -> Iterator[Refused]:
        """Yield the number of a client's refused launches at a hospital, by reason."""
        if effect.changes_launches:
            faults: Counter[str] = Counter()
            for task, number in self.launched.get((tenant, facts.id), {}).items():
                faults[self._launch_fault(facts, books, installation, task)] += number
            for reason, number in sorted(faults.items()):
                if reason:
                    yield Refused(reason, number, Counted.LAUNCHES)

    def _launch_fault(
        self, facts: ClientFacts, books: Books, installation: InstallationFacts, task: tuple[str, str]
    ) -> str:
        """Return why a launch would newly be refused; empty if it would not."""
        default = installation.default_workflow
        key = facts.id, id(books), task, default
        if key not in self._launch_faults:
            both = (books.before, books.after)
            now, then = (launch_fault(book, facts, task, default, self.start.now) for book in both)
            self._launch_faults[key] = "" if now else then
        return self._launch_faults[key]

    def _certification(self, facts: ClientFacts, effect: Effect, loss: Loss, hospitals: int) -> Row:
        self.totals.certifications_lapsing += loss is Loss.LAPSES
        self.totals.certifications_narrowed += loss is Loss.NARROWED
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
            effect.served,
        )

    def _installation(
        self,
        facts: ClientFacts,
        tenant: TenantId,
        here: _Here,
        *,
        limits: tuple[LimitChange, ...],
        refused: tuple[Refused, ...],
        quota: QuotaTrial | None,
    ) -> Row:
        hospital = self._hospital(tenant)
        agreements = ended = 0
        for scopes, number in self.agreements.get((tenant, facts.id), {}).items():
            what = agreement_loss(scopes, here.before, here.after)
            agreements += 0 if what is Loss.NONE else number
            ended += number if what is Loss.LAPSES else 0
        hospital.apps += 1
        hospital.lapsing += here.loss is Loss.LAPSES
        hospital.agreements += agreements
        hospital.ended += ended
        self.totals.agreements += agreements
        self.totals.agreements_ended += ended
        return InstallationChange(
            tenant,
            facts.app,
            facts.id,
            here.loss,
            here.lost,
            here.gained,
            limits,
            agreements,
            ended,
            refused,
            quota,
        )

    def _allowed(
        self, facts: ClientFacts, books: Books, installation: InstallationFacts, effect: Effect | None
    ) -> _Here:
        """Return what a client may be granted at a hospital, computed once for each distinct answer of the policies and installation."""
        # By identity first: at a million places, comparing their scopes costs more than everything else.
        near = id(effect), id(installation.scopes)
        kept = self._near.get(near)
        if effect is None or kept is None or kept[0] is not effect or kept[1] is not installation.scopes:
            kept = effect, installation.scopes, self._allowed_by(facts, books, installation, effect)
            self._near[near] = kept
        return kept[2]

    def _allowed_by(
        self, facts: ClientFacts, books: Books, installation: InstallationFacts, effect: Effect | None
    ) -> _Here:
        lapses = self._lapses(effect)
        # The scopes and not the client: clients that are admitted to the same share one answer.
        answers = facts.id if effect is None else (effect.before.scopes, effect.after.scopes)
        key = answers, lapses, installation.scopes
        found = self._here.get(key)
        if found is None:
            alike = judged_by(facts, books.before, books.after)
            before = allowed_scopes(alike, installation, books.before, self.start.now)
            # Eligibility refuses an app without a certification before its scopes are looked at.
            after = () if lapses else allowed_scopes(alike, installation, books.after, self.start.now)
            lost, gained = difference(before, after)
            found = self._here[key] = _Here(before, after, lost, gained, loss_of(after, lost))
        return found

    def _hospital(self, tenant: str) -> HospitalChange:
        found = self._hospitals.get(tenant)
        if found is None:
            version = self.start.versions.version_at(TenantId(tenant))
            found = self._hospitals[tenant] = HospitalChange(tenant, version)
        return found

    # --- decisions -------------------------------------------------------------------------------------------------------------

    def _decision_changes(
        self,
        facts: ClientFacts,
        places: Mapping[TenantId, InstallationFacts],
        decisions: Iterable[DecisionCount],
    ) -> list[DecisionChange]:
        found: list[DecisionChange] = []
        turned: Counter[tuple[str, Verdict]] = Counter()
        here_at: dict[str, _Here] = {}
        # The outcome of a decision depends on its shape and on what is allowed there; both have few values.
        judged: dict[tuple[str, str, str, str, int], Turn | None] = {}
        unjudged = 0
        for decision in decisions:
            here = here_at.get(decision.tenant)
            if here is None:
                tenant = TenantId(decision.tenant)
                if (installation := places.get(tenant)) is None:
                    unjudged += decision.number
                    continue
                books = self.books.at(tenant, facts.app)
                here = here_at[tenant] = self._allowed(facts, books, installation, books.effect(facts))
            key = decision.rule, decision.resource_type, decision.interaction, decision.reason, id(here)
            if key not in judged:
                judged[key] = turn_of(decision, here.before, here.after) if is_judged(decision) else UNJUDGED
            turn = judged[key]
            if turn is UNJUDGED:
                unjudged += decision.number
            elif turn is not None:
                found.append(changed_decision(decision, turn))
                turned[decision.tenant, turn[0]] += decision.number
        self.totals.unjudged += unjudged
        self.totals.decision_changes += len(found)
        self._count(turned)
        found.sort(key=attrgetter("tenant", "verdict", "resource_type", "interaction", "scope"))
        return found

    def _count(self, turned: Mapping[tuple[str, Verdict], int]) -> None:
        for (tenant, verdict), number in turned.items():
            for each in (self._hospital(tenant), self.totals):
                match verdict:
                    case Verdict.REFUSED:
                        each.refused += number
                    case Verdict.LESS:
                        each.less += number
                    case Verdict.ALLOWED:
                        each.allowed += number

    # --- the result ------------------------------------------------------------------------------------------------------------

    def hospitals(self) -> list[Row]:
        """Return the hospitals where anything would change, with the numbers of each."""
        self.totals.hospitals = len(self._hospitals)
        return [self._hospitals[tenant] for tenant in sorted(self._hospitals)]

    def packed(self, rows: Iterable[Row]) -> list[Pack]:
        """Add rows to the result, and return those to store, the ones of one kind and hospital together."""
        together: dict[tuple[Kind, str], list[Row]] = {}
        for row in rows:
            together.setdefault((KINDS[type(row)], row.tenant), []).append(row)
        packs: list[Pack] = []
        for (kind, tenant), some in sorted(
            together.items(), key=lambda each: (_ORDER[each[0][0]], each[0][1])
        ):
            for part in batched(some, PACKED_ROWS):
                self._number += len(part)
                body = orjson.dumps(part)
                # No JSON has a line break in it, so that no two results are one text.
                self._hash.update(b"\n%b\n%b" % (_NAMES[kind], body))
                if self._number > ROWS_BOUND and kind is not Kind.HOSPITAL:
                    self.totals.left_out += len(part)
                    continue
                first, last = (getattr(part[n], "app", "") for n in (0, -1))
                packs.append(Pack(self._number, kind, tenant, first if first == last else "", body.decode()))
        return packs

    def digest(self) -> str:
        """Return the digest of the version, of what it was compared with, and of all rows so far, also those that are not stored."""
        return str(self._hash.hexdigest())

    def counts(self) -> dict[str, int]:
        """Return the numbers of a run."""
        return asdict(self.totals)


# Cached: a frozen value takes long to build, and many places share one.
refused_for = lru_cache(maxsize=REFUSED_KEPT)(Refused)
