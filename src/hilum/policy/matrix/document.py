"""The rule book as a document: parsed and validated. Pure.

A document is what TOML or JSON holds. In one that a person writes, the cells of a tier start from those of ``base``, and the scopes of a
cell include those of the category's lower tiers. What ``render`` returns has neither shortcut and parses to the same book.
"""

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import date
from typing import Any

from hilum.controls.switches.models import BURST_BOUND, RATE_BOUND_PER_S, RATE_LEAST_PER_S, Quota
from hilum.foundation.standards.fhir.definitions import resource_types
from hilum.foundation.standards.smart.scopes import LETTERS, SPECIAL, Prefix, ScopeError, parse_scope
from hilum.policy.matrix.exception_models import Autonomy, Population
from hilum.policy.matrix.exceptions import requirements
from hilum.policy.matrix.limit_models import LATENCY_BOUND_MS
from hilum.policy.matrix.limits import (
    lifetime_faults,
    read_criteria,
    read_exceptions,
    read_lifetimes,
    read_remediation,
    read_shares,
)
from hilum.policy.matrix.models import (
    ANY,
    DOCUMENT_BOUND,
    DORMANT_DAYS,
    FORMAT,
    LANE_STEPS,
    LIFE_BOUND,
    LIST_BOUND,
    NAMES_BOUND,
    NEVER_A_CONDITION,
    PROOFS,
    TIERS,
    AlertThresholds,
    Book,
    Category,
    Cell,
    ClientAuthentication,
    Fault,
    JurisdictionPack,
    LaneStep,
    Lens,
    Observation,
    ReviewClocks,
    StepCondition,
    Tier,
    TierRule,
    TrafficClass,
)
from hilum.policy.matrix.observed_cells import CELL_LIMITS, CurrentBook, completed
from hilum.policy.matrix.product_models import DataClass, ScopeProduct, ScopeStatus, Workflow
from hilum.policy.matrix.products import product_faults
from hilum.policy.matrix.rendering import canonical, render, render_rule
from hilum.policy.matrix.soundness import soundness_faults
from hilum.policy.matrix.tables import Table

__all__ = ["book_faults", "canonical", "read_book", "read_stored", "render", "render_rule"]
DAYS_BOUND = 365
PERCENT_BOUND = 100
VERSION_BOUND = 10_000
_WITH_PRODUCTS = 2
"""The first format with scope products."""
_NO_DAY = date.min
_WARNINGS = frozenset({"out_of_range", "resource_type_unknown", "scope_malformed"})
"""Faults that a stored document may have: the value that is used instead allows less, or nothing."""
_AGREEMENT = re.compile(r"[a-z][a-z_]{0,39}")
_NESTED = ("review", "quota", "alerts", "lifetimes")


def read_book(document: object, against: CurrentBook | None = None) -> tuple[Book | None, tuple[Fault, ...]]:
    """Parse and validate a document to be added: the book, or None and everything that is wrong with it.

    ``against``: gives what is in force, from which the cells that are observed take what they were; asked only if there are any.
    """
    faults: list[Fault] = []
    top = Table(faults, "", document)
    if top.has("format") and top.raw["format"] != FORMAT:
        sentence = f"This release reads format {FORMAT}. Start from `hilum policy show shipped --document`, or see the changelog."
        top.fault("format", "format_unknown", sentence)
        return None, tuple(faults)
    top.integer("format", FORMAT, FORMAT)
    book = _book(top, FORMAT)
    if not faults:
        faults += book_faults(book)
    if not faults and against is not None:
        book = completed(book, against, faults)
    if faults:
        return None, tuple(faults)
    written = canonical(render(book))
    if len(written) > DOCUMENT_BOUND:
        sentence = (
            f"Written out in full it has {len(written)} bytes, and at most {DOCUMENT_BOUND} are allowed."
        )
        return None, (Fault("", "too_large", sentence),)
    return replace(book, digest=hashlib.sha256(written).hexdigest()), ()


def book_faults(book: Book) -> list[Fault]:
    """Return the faults of a book with valid fields."""
    return [*soundness_faults(book), *product_faults(book), *lifetime_faults(book)]


def read_stored(document: object, digest: str) -> tuple[Book | None, tuple[Fault, ...]]:
    """Parse a document that was valid for the release that stored it: the book, or None if this release cannot read it; and the faults.

    With a book the faults are warnings: it is in force whatever this release would refuse today. A limit above today's counts as
    today's, and a scope that is no longer known permits nothing. Soundness is not judged. A field that a later release adds must be
    optional here, with the value that means what its absence meant. A newer format is read where it states a ``compatible_from`` that this
    release reads; its other fields are ignored.
    """
    faults: list[Fault] = []
    top = Table(faults, "", document, stored=True)
    written, compatible_from = (top.raw.get(name, FORMAT) for name in ("format", "compatible_from"))
    if written != FORMAT and not (isinstance(compatible_from, int) and top.has("compatible_from")):
        compatible_from = written
    if not isinstance(written, int) or compatible_from > FORMAT:
        return None, (
            Fault("format", "format_newer", f"It is of format {written}, and this release reads {FORMAT}."),
        )
    # ``rollout`` stated how long a trial lasts, which no longer counts (ADR 43).
    for name in ("format", "compatible_from", "rollout"):
        top.skip(name)
    book = _book(top, written)
    newer = written > FORMAT
    hard = [
        fault for fault in faults if fault.code not in _WARNINGS and not (newer and fault.code == "unknown")
    ]
    return (None, tuple(hard)) if hard else (replace(book, digest=digest), tuple(faults))


def _book(top: Table, written: int) -> Book:
    """Parse everything but the format, which is ``written``. Faults are added to those of the table."""
    with_products = written >= _WITH_PRODUCTS
    evidence, scenarios = top.titles("evidence"), top.titles("scenarios")
    longest, waivable = read_exceptions(top, requirements(evidence, scenarios))
    book = Book(
        title=top.text("title"),
        owner=top.text("owner"),
        workflows=_workflows(top) if with_products else _titled(top),
        placements=top.titles("placements"),
        scenarios=scenarios,
        evidence=evidence,
        categories={},
        tier_rules=(),
        regulated_lane=tuple(_step(table) for table in top.tables("regulated_lane")),
        packs=tuple(_pack(table) for table in top.tables("packs", optional=True)),
        products={name: _product(table, name) for name, table in top.named("scopes")}
        if with_products
        else None,
        custom_scopes_at_most=top.integer("custom_scopes_at_most", 0, NAMES_BOUND) if with_products else 0,
        longest_exception=longest,
        waivable=waivable,
        shares=read_shares(top),
    )
    # Cells inherit from the base of their tier. Categories refer to workflows and placements, and tier
    # rules to categories.
    base = top.table("base", optional=True)
    bases = {tier: base.table(tier, optional=True).raw for tier in TIERS}
    base.close()
    categories = {name: _category(table, name, book, bases) for name, table in top.named("categories")}
    book = replace(book, categories=categories)
    rules = tuple(_tier_rule(table, book) for table in top.tables("tier_rules"))
    top.close()
    return replace(book, tier_rules=rules)


# --- parts ---------------------------------------------------------------------------------------------------------------------


def _category(table: Table, name: str, book: Book, bases: Mapping[Tier, Mapping[str, Any]]) -> Category:
    title, floor, is_open = table.text("title"), Tier(table.word("floor", TIERS)), table.flag("open")
    model_card = table.flag("model_card", optional=True)
    cells: dict[Tier, Cell] = {}
    written = table.table("cells")
    lower: tuple[str, ...] = ()
    for tier in TIERS:
        if not written.has(tier):
            continue
        own = written.table(tier)
        whole = own.like(own.path, _merged(bases[tier], own.raw))
        cell = _cell(whole, book)
        if whole.has("observe"):
            cell = replace(cell, observe=_observation(whole.table("observe"), bases[tier], book))
        if tier is not Tier.LOW and cell.review.sample_percent is not None:
            sentence = "Only the low tier passes without a person. Remove it."
            own.fault("review.sample_percent", "contradictory", sentence)
        lower = tuple(sorted({*lower, *cell.scopes}))
        # The cell is written out with them, and must be readable again.
        if len(lower) > LIST_BOUND and not own.stored:
            sentence = (
                f"With those of the lower tiers it lists {len(lower)}; at most {LIST_BOUND} are allowed."
            )
            own.fault("scopes", "too_many", sentence)
        cells[tier] = replace(cell, scopes=lower)
    written.close()
    table.close()
    return Category(name, title, floor, is_open, cells, model_card)


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return a cell with missing values taken from ``base``, also within nested tables."""
    merged = {**base, **own}
    for name in _NESTED:
        below, above = base.get(name), own.get(name)
        if isinstance(below, Mapping) and isinstance(above, Mapping):
            merged[name] = {**below, **above}
    return merged


def _cell(table: Table, book: Book) -> Cell:
    cell = Cell(
        scopes=_scopes(table, "scopes"),
        session_scopes=tuple(sorted(table.words("session_scopes", SPECIAL))),
        client_authentication=frozenset(
            map(ClientAuthentication, table.words("client_authentication", tuple(ClientAuthentication)))
        ),
        workflows=frozenset(table.words("workflows", {*book.workflows, ANY})),
        placements=frozenset(table.words("placements", {*book.placements, ANY})),
        scenarios=frozenset(table.words("scenarios", book.scenarios)),
        evidence=frozenset(table.words("evidence", book.evidence)),
        lenses=frozenset(map(Lens, table.words("lenses", tuple(Lens)))),
        review=_review(table.table("review")),
        quota=_quota(table.table("quota")),
        traffic_class=TrafficClass(table.word("traffic_class", tuple(TrafficClass))),
        alerts=_alerts(table.table("alerts")),
        certificate_life=table.duration("certificate_life", LIFE_BOUND),
        lifetimes=read_lifetimes(table.table("lifetimes")),
        agreements=_agreements(table),
        proofs=frozenset(table.words("proofs", PROOFS, optional=True)),
        dormant_days=_days(table, "dormant_days", DORMANT_DAYS),
        dormant_ends=table.flag("dormant_ends", optional=True),
        **read_remediation(table),
        **read_criteria(table),
    )
    table.skip("observe")
    table.close()
    return cell


def _observation(table: Table, base: Mapping[str, Any], book: Book) -> Observation:
    until = table.day("until") or _NO_DAY
    limits = table.words("limits", CELL_LIMITS, optional=True)
    if not table.has("earlier"):
        table.close()
        return Observation(until, limits)
    written = table.table("earlier")
    if limits:
        table.fault("limits", "contradictory", "State what to observe, or how the cell was; not both.")
    if written.has("observe"):
        written.fault("observe", "contradictory", "What a cell was is not observed.")
    table.close()
    return Observation(until, (), _cell(written.like(written.path, _merged(base, written.raw)), book))


def _agreements(table: Table) -> frozenset[str]:
    """Read the kinds of agreements that a cell requires; by default none."""
    found = table.words("agreements", None, optional=True)
    for word in found:
        if not _AGREEMENT.fullmatch(word):
            sentence = f"{word[:64]!r} is not a valid name for a kind of agreement: use at most 40 lower-case letters and underscores."
            table.fault("agreements", "word_unknown", sentence)
    return frozenset(found)


def _days(table: Table, name: str, default: int) -> int:
    return table.integer(name, 1, DAYS_BOUND) if table.has(name) else default


def _titled(top: Table) -> dict[str, Workflow]:
    return {name: Workflow(name, title) for name, title in top.titles("workflows").items()}


def _workflows(top: Table) -> dict[str, Workflow]:
    placements = top.raw.get("placements")
    known = placements if isinstance(placements, Mapping) else {}
    return {name: _workflow(table, name, known) for name, table in top.named("workflows")}


def _workflow(table: Table, name: str, placements: Collection[str]) -> Workflow:
    found = Workflow(
        name,
        table.text("title"),
        owner=table.text("owner"),
        purpose=table.text("purpose"),
        version=table.integer("version", 1, VERSION_BOUND),
        scopes=_scopes(table, "scopes"),
        intents=frozenset(table.words("intents", None, optional=True)),
        placements=frozenset(table.words("placements", placements, optional=True)),
    )
    table.close()
    return found


def _product(table: Table, name: str) -> ScopeProduct:
    found = ScopeProduct(
        name,
        owner=table.text("owner", optional=True),
        purpose=table.text("purpose"),
        data_class=DataClass(table.word("data_class", tuple(DataClass))),
        version=table.integer("version", 1, VERSION_BOUND),
        status=ScopeStatus(table.word("status", tuple(ScopeStatus))),
        covers=_scopes(table, "covers", special=True),
        successor=table.text("successor", optional=True),
        no_successor=table.text("no_successor", optional=True),
        deprecated_from=table.day("deprecated_from", optional=True),
        sunset=table.day("sunset", optional=True),
        custom=table.flag("custom", optional=True),
        demand=table.text("demand", optional=True),
        tests=table.words("tests", None, optional=True),
    )
    table.close()
    return found


def _scopes(table: Table, name: str, *, special: bool = False) -> tuple[str, ...]:
    found = table.words(name, None)
    for text in found:
        if special and text in SPECIAL:
            continue
        parsed = parse_scope(text)
        if isinstance(parsed, ScopeError) or text in SPECIAL:
            table.fault(name, "scope_malformed", f"{text[:64]!r} is not a scope on a resource type.")
        elif parsed.type != ANY and parsed.type not in resource_types():  # type: ignore[union-attr]
            table.fault(name, "resource_type_unknown", f"{text[:64]!r} names no resource type of FHIR R4.")
    return found


def _review(table: Table) -> ReviewClocks:
    found = ReviewClocks(
        table.integer("first_answer_business_days", 1, DAYS_BOUND),
        table.integer("decision_business_days", 1, DAYS_BOUND),
        table.integer("sample_percent", 0, PERCENT_BOUND) if table.has("sample_percent") else None,
    )
    table.close()
    return found


def _quota(table: Table) -> Quota:
    found = Quota(
        table.number("rate_per_s", RATE_LEAST_PER_S, RATE_BOUND_PER_S), table.integer("burst", 1, BURST_BOUND)
    )
    table.close()
    return found


def _alerts(table: Table) -> AlertThresholds:
    found = AlertThresholds(
        table.integer("refused_percent", 1, PERCENT_BOUND),
        table.integer("failed_percent", 1, PERCENT_BOUND),
        table.integer("latency_ms_p95", 1, LATENCY_BOUND_MS),
    )
    table.close()
    return found


def _tier_rule(table: Table, book: Book) -> TierRule:
    rule = TierRule(
        name=table.text("name"),
        tier=Tier(table.word("tier", TIERS)),
        because=table.text("because"),
        categories=_condition(table, "categories", book.categories),
        clients=frozenset(
            map(ClientAuthentication, _condition(table, "clients", tuple(ClientAuthentication)))
        ),
        workflows=_condition(table, "workflows", book.workflows),
        placements=_condition(table, "placements", book.placements),
        prefixes=_condition(table, "prefixes", tuple(Prefix)),
        types=_condition(table, "types", resource_types() | {ANY}),
        letters="".join(_condition(table, "letters", LETTERS)),
        special=_condition(table, "special", SPECIAL),
        autonomy=_condition(table, "autonomy", tuple(Autonomy)),
        populations=_condition(table, "populations", tuple(Population)),
    )
    if rule.special and (rule.prefixes or rule.types or rule.letters):
        table.fault("special", "contradictory", "A scope is either on resources or special, never both.")
    table.close()
    return replace(rule, letters="".join(letter for letter in LETTERS if letter in rule.letters))


def _condition(table: Table, name: str, allowed: Collection[str]) -> frozenset[str]:
    """Read an optional condition. An empty list is refused: it would read as "never" and mean "always"."""
    if table.has(name) and table.raw[name] == []:
        table.fault(name, "empty", "Name at least one, or leave the condition out.")
    return frozenset(table.words(name, allowed, optional=True))


def _step(table: Table) -> LaneStep:
    name, days = table.word("name", LANE_STEPS), table.integer("within_business_days", 1, DAYS_BOUND)
    words = table.raw.get("requires")
    for word in words if isinstance(words, list | tuple) else ():
        if isinstance(word, str) and word in NEVER_A_CONDITION:
            sentence = (
                f"A step of the regulated lane must not depend on a {word}: access that regulation protects"
                " is free of it (45 CFR 170.404). Remove it."
            )
            table.fault("requires", "regulated_lane_condition", sentence)
            return LaneStep(name, days, frozenset())
    requires = frozenset(map(StepCondition, table.words("requires", tuple(StepCondition))))
    table.close()
    return LaneStep(name, days, requires)


def _pack(table: Table) -> JurisdictionPack:
    steps = table.table("step_days", optional=True)
    valid_from, valid_until = table.day("valid_from"), table.day("valid_until", optional=True)
    if valid_from and valid_until and valid_until <= valid_from:
        table.fault("valid_until", "contradictory", "It must be after valid_from.")
    found = JurisdictionPack(
        name=table.text("name"),
        jurisdiction=table.text("jurisdiction"),
        source=table.text("source"),
        valid_from=valid_from or _NO_DAY,
        valid_until=valid_until,
        step_days={name: steps.integer(name, 1, DAYS_BOUND) for name in steps.names()},
        patient_refresh_at_least=table.duration("patient_refresh_at_least", LIFE_BOUND),
    )
    table.close()
    return found
