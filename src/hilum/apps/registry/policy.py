"""Permissions on vendors and apps, and validation of orders. Pure."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from hilum.apps.registry.app_edit_models import SIDE_BOUND, TEXTS, AppEditOrder
from hilum.apps.registry.models import (
    LABEL_BOUND,
    LISTED_BOUND,
    SCOPES_BOUND,
    TEXT_BOUND,
    AiUse,
    App,
    AppVersion,
    Certification,
    CertifyOrder,
    Environment,
    MovedCertification,
    NewApp,
    NewVendor,
    NewVersion,
    Profile,
)
from hilum.apps.registry.profiles import html_fault
from hilum.foundation.kernel.actor import Actor, ActorKind
from hilum.foundation.kernel.ids import VendorId
from hilum.foundation.kernel.limits import Bounded, too_long, too_many
from hilum.foundation.kernel.lists import listed
from hilum.foundation.standards.redirects import validate_web_uri
from hilum.foundation.standards.smart.scopes import (
    LAUNCH_AND_IDENTITY,
    ScopeError,
    all_covered,
    parse_scope,
    parse_stored,
)
from hilum.identity.people.models import Role, StaffRole, VendorRight
from hilum.identity.people.policy import is_member, may_as_member, name_fault
from hilum.policy.matrix.models import (
    NAMES_BOUND,
    NOT_DECLARED,
    PROOFS,
    SANDBOX_TRIAL,
    SYSTEM_CLIENT,
    Applicant,
    Autonomy,
    Book,
    ClientAuthentication,
    Tier,
)
from hilum.policy.matrix.policy import admit, assess, excess_scopes, tier_judge, tiers_to_certify

_DIGEST = re.compile(r"[0-9a-f]{64}")
_WITH_A_HUMAN_STEP = frozenset({Autonomy.DRAFTS, Autonomy.ACTS_AFTER_HUMAN_STEP})
Texts = Mapping[str, str]
"""Texts of an app, by field."""


def _is_platform_itself(actor: Actor) -> bool:
    return actor.kind in {ActorKind.HOST, ActorKind.SYSTEM}


def _is_staff(actor: Actor, *roles: StaffRole) -> bool:
    return actor.kind is ActorKind.STAFF and not actor.roles.isdisjoint(roles)


def may_register(actor: Actor) -> bool:
    """Check whether an actor may add vendors, apps, versions and clients."""
    return _is_platform_itself(actor) or _is_staff(actor, StaffRole.PLATFORM_ADMIN)


def may_change(actor: Actor, vendor: VendorId, right: VendorRight = VendorRight.APPS) -> bool:
    """Check whether an actor may change a vendor's records under a right: the platform, and members with that right."""
    return may_register(actor) or may_as_member(actor, vendor, right)


def may_see_vendor(actor: Actor, vendor: VendorId) -> bool:
    """Check whether an actor may read a vendor's own records, such as its clients."""
    return actor.is_platform or is_member(actor, vendor)


def may_certify(actor: Actor) -> bool:
    """Check whether an actor may record and withdraw certifications; those who register or install apps may not."""
    # Whoever registers an app must not be able to certify it: each takes an account of its own, and no
    # account has two roles.
    return _is_platform_itself(actor) or _is_staff(actor, StaffRole.REVIEWER)


def may_certify_for(actor: Actor, order: CertifyOrder) -> bool:
    """Check whether an actor who may certify may carry out an order: for production only after the disciplines (C109).

    The platform itself enables verified requests of the regulated lane, without a submission.
    """
    return order.environment is Environment.SANDBOX or bool(order.submission) or _is_platform_itself(actor)


def changes_terms(before: Profile, after: Profile) -> bool:
    """Check whether a vendor's new statements change what people agreed to: terms or privacy policy (C90)."""
    return any(
        was and was != now
        for was, now in ((before.terms, after.terms), (before.privacy_policy, after.privacy_policy))
    )


def may_suspend(actor: Actor) -> bool:
    """Check whether an actor may suspend and resume apps."""
    # Security may stop an app but not register one: containing an incident needs no power to create.
    return _is_platform_itself(actor) or _is_staff(actor, StaffRole.PLATFORM_ADMIN, StaffRole.SECURITY)


def may_read_catalogue(actor: Actor) -> bool:
    """Check whether an actor may read vendors, apps and versions."""
    return actor.is_platform or (actor.kind is ActorKind.PERSON and Role.ADMINISTRATOR in actor.roles)


def may_see_app(actor: Actor, app: App) -> bool:
    """Check whether an actor may read an app; one that exists at a single tenant is visible only there."""
    if actor.is_platform or is_member(actor, app.vendor):
        return True
    # An app of one tenant only (its EHR, a developer's trial) is nobody else's business.
    return may_read_catalogue(actor) and app.tenant in {None, actor.tenant}


def _is_website(text: str) -> bool:
    # Browsers read a backslash as a slash; userinfo makes a link look like one to another host.
    host, _, _ = text.removeprefix("https://").partition("/")
    plain = not set("\\\"'<>") & set(text) and "@" not in host
    return text.startswith("https://") and bool(host) and plain and not name_fault(text)


def vendor_faults(order: NewVendor) -> dict[str, str]:
    """Return the error code of each invalid field of a vendor."""
    fields = {
        "name": order.name,
        "support_contact": order.support_contact,
        "security_contact": order.security_contact,
    }
    faults = {
        field: fault for field, text in fields.items() if (fault := name_fault(text) or html_fault(text))
    }
    if order.website and not _is_website(order.website):
        faults["website"] = "website_not_https"
    return faults


def judging_book(books: Sequence[Book], faults_of: Callable[[Book], dict[str, str]]) -> Book:
    """Return the first of the policies in force that allows an order; the first of all, the one everywhere, if none does.

    What only a policy on trial allows is registered and certified too, or nothing new could be tried. Each tenant judges it by its own
    policy, so nobody gets anything of it where that policy is not in force.
    """
    return next((book for book in books if not faults_of(book)), books[0])


def app_faults(order: NewApp, book: Book, actor: Actor) -> dict[str, str]:
    """Return the error code of each invalid field of an app. Its category must be open, except for the platform itself."""
    faults = text_faults({name: getattr(order, name) for name in TEXTS})
    category = book.categories.get(order.category)
    if category is None:
        faults["category"] = "category_unknown"
    # `unclassified` holds the apps from before the policy and is closed to new ones (ADR 42), except for
    # those that the host or the start-up plan adds.
    elif not category.open and not actor.acts_alone:
        faults["category"] = "category_closed"
    return faults


def category_faults(app: App, category: str, reason: str, book: Book) -> dict[str, str]:
    """Return the error code of each invalid field of a move to another category."""
    faults = {"reason": fault} if (fault := reason_fault(reason)) else {}
    found = book.categories.get(category)
    if found is None:
        faults["category"] = "category_unknown"
    elif not found.open:
        faults["category"] = "category_closed"
    elif app.category == category:
        faults["category"] = "category_unchanged"
    # A hospital's EHR is not an app: with a category it would become one.
    elif app.category == SYSTEM_CLIENT:
        faults["category"] = "category_of_a_system_client"
    return faults


def moved_certification(
    book: Book, app: App, version: AppVersion, certification: Certification, category: str
) -> MovedCertification:
    """Return what a move of an app to a category means for one of its certifications (C21)."""
    tiers: dict[ClientAuthentication, str] = {}
    # Whether its AI may write alone is for each hospital to say, whatever its category is.
    book = replace(book, autonomous=frozenset({version.id}))
    kept: set[str] = set()
    possible: set[str] = set()
    for way, certified in certification.tiers.items():
        there = replace(
            applicant_of(replace(app, category=category), version, certification.scopes), authentication=way
        )
        tiers[way] = str(assess(book, there))
        held = replace(there, certified_tier=certified, certified_category=certification.category)
        kept |= set(admit(book, held).scopes)
        possible |= set(admit(book, replace(there, certified_tier=Tier.HIGH)).scopes)
    again = [text for text in sorted(possible) if not all_covered((text,), kept)]
    lost = [text for text in certification.scopes if not all_covered((text,), possible)]
    return MovedCertification(certification.id, version.label, tiers, tuple(again), tuple(lost))


def text_faults(texts: Texts) -> dict[str, str]:
    """Return the error code of each invalid text of an app, by field."""
    faults: dict[str, str] = {}
    for field, text in texts.items():
        if field == "logo":
            continue  # it was judged when it was read
        if field == "name":
            fault = name_fault(text) or html_fault(text)
        else:
            fault = text_fault(text) if text.strip() else f"{field}_missing"
        if fault:
            faults[field] = fault
    return faults


def edited_texts(app: App, order: AppEditOrder) -> dict[str, str]:
    """Return the texts that an edit changes, as they will be stored."""
    asked = {name: getattr(order, name) for name in TEXTS}
    wanted = {name: text.strip() for name, text in asked.items() if text is not None}
    if order.logo is not None:
        wanted["logo"] = order.logo.digest
    return {name: text for name, text in wanted.items() if text != getattr(app, name)}


def both_sides(app: App, order: AppEditOrder) -> str:
    """Return the sentences of a stale edit: what is stored now beside what was asked for, as far as they differ."""
    sides = (
        f"The {name} is {_side(getattr(app, name))}, and your edit says {_side(text)}."
        for name, text in edited_texts(app, order).items()
    )
    return " ".join(("This was changed since you read it. Read it again, and repeat your change.", *sides))


def _side(text: str) -> str:
    return repr(text if len(text) <= SIDE_BOUND else text[: SIDE_BOUND - 1] + "…")


def text_fault(text: str) -> str:
    """Return the error code of a vendor's text; empty if it is valid."""
    return too_long(TEXT_BOUND) if len(text) > TEXT_BOUND else html_fault(text)


def version_faults(order: NewVersion, book: Book, category: str) -> dict[str, str]:
    """Return the error code of each invalid field of a version: it declares only workflows and placements that the policy names.

    ``category`` is the app's, which may require the card of a model.
    """
    label_fault = (
        name_fault(order.label)
        or html_fault(order.label)
        or (too_long(LABEL_BOUND, "name_too_long") if len(order.label) > LABEL_BOUND else "")
    )
    faults = {
        "label": label_fault,
        "workflows": _declared_fault(order.workflows, book.workflows, "workflow_unknown"),
        "placements": _declared_fault(order.placements, book.placements, "placement_unknown"),
        "optional_scopes": _optional_fault(order.optional_scopes or ()),
    }
    found = {field: fault for field, fault in faults.items() if fault}
    if order.ai_use is not None:
        found |= ai_faults(order.ai_use, card_required=_requires_card(book, category))
    return found


def _optional_fault(scopes: tuple[str, ...]) -> str:
    """Return the error code of the scopes that a version can do without: those on records, and access while its person is away (C211)."""
    if scopes and (fault := scope_faults(scopes)):
        return fault["scopes"]
    # Nobody can decline to say who they are or what is open, so these are never asked as a choice.
    return "scope_never_optional" if any(text in LAUNCH_AND_IDENTITY for text in scopes) else ""


def _requires_card(book: Book, category: str) -> bool:
    found = book.categories.get(category)
    return found is not None and found.model_card


def ai_faults(use: AiUse, *, card_required: bool) -> dict[str, str]:
    """Return the error code of each invalid field of a declared use of AI (C23)."""
    faults: dict[str, str] = {}
    for field in ("model", "purpose", "human_step"):
        text = getattr(use, field)
        # Whoever lets a person decide says what that person does.
        required = field != "human_step" or use.autonomy in _WITH_A_HUMAN_STEP
        if required and not text.strip():
            faults[f"ai_use.{field}"] = "ai_purpose_missing" if field == "purpose" else f"{field}_missing"
        elif fault := text_fault(text):
            faults[f"ai_use.{field}"] = fault
    if use.autonomy is Autonomy.ACTS_ALONE and use.human_step.strip():
        faults["ai_use.human_step"] = "human_step_contradictory"
    if use.model_card and (card_fault := validate_web_uri(use.model_card, loopback=False)):
        faults["ai_use.model_card"] = card_fault
    elif card_required and not use.model_card:
        faults["ai_use.model_card"] = "model_card_missing"
    # Without its digest nobody could tell later which card was reviewed.
    if use.model_card and not _DIGEST.fullmatch(use.model_card_digest):
        faults["ai_use.model_card_digest"] = "not_a_sha256"
    elif use.model_card_digest and not use.model_card:
        faults["ai_use.model_card"] = "model_card_missing"
    return faults


def _declared_fault(declared: tuple[str, ...], named: Collection[str], unknown: str) -> str:
    if declared == NOT_DECLARED:
        return ""
    if len(declared) > NAMES_BOUND:
        return too_many(NAMES_BOUND)
    if len(set(declared)) < len(declared):
        return "named_twice"
    # A name that no rule can mean would be a condition that never counts against the app.
    return "" if set(declared) <= set(named) else unknown


def applicant_of(app: App, version: AppVersion, scopes: tuple[str, ...]) -> Applicant:
    """Return what the policy must know of a version that asks for some scopes, whatever its clients are."""
    return Applicant(
        app.category,
        scopes,
        None,
        version.workflows,
        version.placements,
        certified_tier=None,
        version=version.id,
        autonomy=None if version.ai_use is None else version.ai_use.autonomy,
        population=version.population,
    )


def reason_fault(reason: str) -> str:
    """Return the error code of a stated reason; empty if it is valid."""
    if not reason.strip():
        return "reason_missing"
    return too_long(TEXT_BOUND) if len(reason) > TEXT_BOUND else ""


def scope_faults(scopes: Iterable[str]) -> dict[str, str]:
    """Return the error code of a list of scopes to certify or install; empty if it is valid."""
    scopes = tuple(scopes)
    if not scopes:
        return {"scopes": "scopes_missing"}
    if len(scopes) > SCOPES_BOUND:
        return {"scopes": too_many(SCOPES_BOUND)}
    for text in scopes:
        parsed = parse_scope(text)
        # A scope that does not parse is covered by nothing: certified, it would never be granted.
        if isinstance(parsed, ScopeError):
            return {"scopes": parsed.value}
    return {}


def certify_faults(
    order: CertifyOrder,
    app: App,
    version: AppVersion,
    book: Book,
    *,
    now: datetime,
    missing: Collection[str] = PROOFS,
    justified: Collection[str] | None = None,
) -> dict[str, str]:
    """Return the error code of each invalid field of a certification: the policy must allow a tier, and says for how long.

    ``missing``: what the vendor has not proved, or let lapse. ``justified``: the scopes with a written justification; None: not asked.
    """
    faults = scope_faults(order.scopes)
    if app.category == SANDBOX_TRIAL and order.environment is not Environment.SANDBOX:
        faults["environment"] = "sandbox_only"
    if order.expires_at <= now:
        faults["expires_at"] = "not_in_the_future"
    if version.ai_use is not None and not version.ai_use.model_card and _requires_card(book, app.category):
        faults["version"] = "model_card_missing"
    tiers = tiers_to_certify(book, applicant_of(app, version, order.scopes))
    # No entry, no access: a category opens tier by tier, as its entries are written (ADR 42).
    if not tiers:
        faults.setdefault("scopes", "tier_not_allowed")
        return faults
    # Bounds how long an app of its riskiest clients' tier runs before it is reviewed again.
    entries = book.categories[app.category].entries
    life = min(entries[each.tier].certificate_life for each in tiers.values())
    if order.expires_at > now + life:
        faults["expires_at"] = Bounded("too_far_away", f"at most {life.days} days from now")
    if lacking_proofs(order, app, version, book, missing):
        faults.setdefault("version", "proofs_missing")
    if justified is not None and unjustified(order, app, version, book, justified):
        faults.setdefault("scopes", "excess_unjustified")
    return faults


def lacking_proofs(
    order: CertifyOrder, app: App, version: AppVersion, book: Book, missing: Collection[str]
) -> tuple[str, ...]:
    """Return what the vendor must have proved for a certification for production and has not, or let lapse (C7)."""
    if order.environment is not Environment.PRODUCTION:
        return ()
    tiers = tiers_to_certify(book, applicant_of(app, version, order.scopes))
    required = {
        proof for each in tiers.values() for proof in book.categories[app.category].entries[each.tier].proofs
    }
    return tuple(sorted(required & set(missing)))


def unjustified(
    order: CertifyOrder, app: App, version: AppVersion, book: Book, justified: Collection[str]
) -> tuple[str, ...]:
    """Return the scopes to certify for production that no declared workflow needs, are above the low tier, and have no justification of their own (C64)."""
    if order.environment is not Environment.PRODUCTION:
        return ()
    judge = tier_judge(book, applicant_of(app, version, order.scopes))
    stated = frozenset(parse_stored(tuple(justified)))
    return tuple(
        text
        for text in excess_scopes(book, version.workflows, order.scopes)
        for scope in parse_stored((text,))
        if scope not in stated and judge(scope) is not Tier.LOW
    )


def was_reviewed(certification: Certification) -> bool:
    """Check whether a submission of what was certified was reviewed: of what the regulated lane enabled, or a reviewer certified by hand, none was."""
    return bool(certification.submission)


def is_in_force(certification: Certification, environment: Environment, now: datetime) -> bool:
    """Check whether a certification is in force for an environment; one for production is also valid in a sandbox."""
    # A certification for production includes the sandbox, never the other way round (C4).
    applies = certification.environment in {environment, Environment.PRODUCTION}
    return applies and certification.withdrawn_at is None and now < certification.expires_at


def last_use(certification: Certification, others: Iterable[Certification], grace: timedelta) -> datetime:
    """Return when hospitals can use what was certified no more: at its withdrawal, or at its end and a grace.

    There is none once anything else of its version was withdrawn.
    """
    if certification.withdrawn_at is not None:
        return min(certification.expires_at, certification.withdrawn_at)
    withdrawn = (each.withdrawn_at for each in others if each.version == certification.version)
    graceless = any(at is not None and at >= certification.certified_at for at in withdrawn)
    return certification.expires_at + (timedelta(0) if graceless else grace)


def beyond(asked: Iterable[str] | None, allowed: Iterable[str], *, allowed_as: str) -> str:
    """Return a sentence listing the requested scopes that are not allowed, and the allowed ones; empty if all are allowed.

    ``allowed_as`` describes the allowed scopes, such as "certified".
    """
    within = tuple(dict.fromkeys(allowed))
    # Compared by what scopes permit and not as text: v1 and v2 spellings of one permission are equal.
    outside = [text for text in asked or () if not all_covered((text,), within)]
    if not outside:
        return ""
    return f"Not {allowed_as}: {listed(outside, LISTED_BOUND)}. {allowed_as.capitalize()}: {listed(within, LISTED_BOUND)}."
