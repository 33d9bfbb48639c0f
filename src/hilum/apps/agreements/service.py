"""Record, confirm and end agreements, find which an app lacks, and remind of their ends.

An agreement, from its record to its end:

1. ``add``: a person of one organisation records it; the other organisation is asked by mail.
2. ``confirm``: a person of the other organisation states the digest of the same document. From ``effective_at`` on it is in force.
3. ``kinds_in_force``, ``missing_for_app``: installing an app and issuing a token ask what is in force at that moment.
4. ``follow_due``, a job: reminders before the end; after it a finding, until another agreement covers it (``_close_findings``).
5. ``end``: either organisation ends it, at once or later, or declines to confirm it.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated

from hilum.apps.agreements import policy, store
from hilum.apps.agreements.models import (
    AGREEMENTS,
    REMIND_BEFORE,
    SORTS,
    WAITING_BOUND,
    Agreement,
    AgreementId,
    AgreementQuery,
    AgreementState,
    Document,
    NewAgreement,
    Side,
)
from hilum.apps.clients import service as clients
from hilum.apps.contacts import service as contacts
from hilum.apps.contacts.models import ContactKind
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, environment_of
from hilum.foundation.actions.models import Arg, Denied, Effect, Moment, Noun, Reason, Shows
from hilum.foundation.actions.service import action
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Readers, Unavailable, not_shown
from hilum.foundation.kernel.ids import PersonId, TenantId, VendorId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.foundation.web.api import MEMBER, STAFF
from hilum.identity.people import service as identity
from hilum.identity.people.models import Tenant
from hilum.identity.people.policy import is_open_to
from hilum.policy.matrix import service as policies
from hilum.records.audit.models import Event, Outcome
from hilum.records.notices import service as notices
from hilum.records.notices.models import EventKind, Mail, MailKind, VendorEvent
from hilum.records.notices.policy import plain_name

_TOO_NEW = "Your account is less than a week old, so you cannot be one of the two people that an agreement needs. Ask a colleague."


def _visible(ctx: Context, agreement_id: str, *, lock: bool = False) -> Agreement:
    agreement = store.get_agreement(ctx.tx, agreement_id, lock=lock)
    if not policy.may_see(ctx.actor, agreement.vendor, agreement.tenant):
        raise NotFound("agreement_not_found", "There is no such agreement.")
    return agreement


def _event(action: str, subject: Agreement | NewAgreement) -> Event:
    facts: dict[str, str] = {"vendor": subject.vendor, "kind": subject.kind}
    if isinstance(subject, Agreement):
        facts |= {"agreement": subject.id, "document": subject.document, "entity": subject.entity}
        facts |= {} if subject.ends_at is None else {"ends_at": subject.ends_at.isoformat()}
        facts |= {"because": subject.end_reason} if subject.end_reason else {}
    return Event(action, tenant=subject.tenant, facts=facts)


AGREEMENT = Noun(
    "agreement",
    "agreements",
    Agreement,
    load=_visible,
    about=_event,
    help="Manage the agreements of vendors with hospitals, without which an app is not installed and nothing new begins.",
    columns=(
        Shows("vendor", "Vendor"),
        Shows("tenant", "Hospital"),
        Shows("entity", "Legal entity"),
        Shows("kind", "Kind"),
        Shows("state", "State"),
        Shows("ends_at", "Until"),
        Shows("finding_since", "Not replaced since"),
    ),
    derived={"state": policy.state_of},
    hidden=frozenset({"due_at"}),
)
SIGNERS = ("administrator", "vendor_owner")
READERS = (STAFF, "administrator", MEMBER)


@action(
    AGREEMENT,
    "add",
    who=SIGNERS,
    creates=True,
    past="recorded an agreement",
    button="Record it",
    more="The other organisation confirms it.",
)
def add(ctx: Context, order: NewAgreement) -> Agreement:
    """Record an agreement for your organisation; it takes effect once the other one has confirmed it.

    Raises NotFound (vendor, hospital), NotPermitted, Invalid, Unavailable (too many wait).
    """
    side = policy.side_of(ctx.actor, order.vendor, order.tenant)
    if side is None:
        raise Denied(order)
    _require_counting(ctx, order)
    vendor = registry.get_vendor(ctx, order.vendor)
    # The hospital's row is locked, so that simultaneous requests do not exceed the bound.
    tenant = identity.get_tenant(ctx, order.tenant, lock=True)
    if not is_open_to(tenant, vendor.id):
        raise identity.no_tenant()
    if faults := policy.order_faults(order, _named_kinds(ctx, tenant.id), ctx.now):
        raise Invalid("agreement_invalid", "The agreement is invalid; see fields.", fields=faults)
    if store.count_waiting(ctx.tx, vendor.id, tenant.id, ctx.now) >= WAITING_BOUND:
        detail = f"{WAITING_BOUND} agreements between this vendor and this hospital wait for confirmation. Confirm or end some first."
        raise Unavailable("too_many_agreements", detail)
    added = Agreement(
        id=ctx.ids.new("agr"),
        vendor=vendor.id,
        tenant=tenant.id,
        entity=order.entity.strip(),
        kind=order.kind,
        parties=tuple(party.strip() for party in order.parties),
        document=order.document,
        effective_at=order.effective_at,
        ends_at=order.ends_at,
        recorded_by=str(ctx.actor),
        recorded_for=side,
        recorded_at=ctx.now,
    )
    store.add_agreement(ctx.tx, added)
    _ask_other(ctx, added)
    return added


@action(
    AGREEMENT,
    "confirm",
    who=SIGNERS,
    effect=Effect.WIDENS,
    past="confirmed an agreement",
    button="Confirm",
)
def confirm(ctx: Context, agreement_id: AgreementId, document: Document) -> Agreement:
    """Confirm an agreement that the other organisation recorded; both must hold the same document.

    Raises NotFound, NotPermitted (no right, recorded by the actor's organisation, or its recorder no longer counts), Invalid (another
    document), Conflict (confirmed or ended already).
    """
    agreement = _visible(ctx, agreement_id, lock=True)
    side = policy.side_of(ctx.actor, agreement.vendor, agreement.tenant)
    if side is None:
        raise Denied(agreement)
    if side is agreement.recorded_for:
        detail = (
            f"Your organisation recorded this agreement, so a person of {_other(agreement)} must confirm it."
        )
        raise Denied(agreement, "recorded_by_you", detail)
    _require_counting(ctx, agreement)
    # The recorder is the other of the two people: a stop on them since then voids the record.
    recorder = PersonId(agreement.recorded_by.partition(":")[2])
    if not identity.counts_as_one_of_two(ctx, recorder, since=agreement.recorded_at):
        detail = "The person who recorded this agreement is no longer active, or was stopped since. End it, and have a colleague of theirs record it again."
        raise Denied(agreement, "asker_no_longer_counts", detail)
    if policy.state_of(agreement, ctx.now) is not AgreementState.WAITING:
        detail = "This agreement has already been confirmed or ended. Read it again."
        raise Conflict("agreement_decided", detail)
    if document != agreement.document:
        event = _event("agreements.agreement.confirm", agreement)
        ctx.record(replace(event, outcome=Outcome.REFUSED, reason="document_differs"))
        detail = "Your document differs from the recorded one. Compare them; if the record is wrong, end it and record the agreement again."
        raise Invalid("agreement_invalid", detail, fields={"document": "document_differs"})
    confirmed = replace(agreement, confirmed_by=str(ctx.actor), confirmed_at=ctx.now)
    confirmed = replace(confirmed, due_at=policy.next_due(confirmed, ctx.now))
    _save(ctx, confirmed)
    _close_findings(ctx, confirmed)
    return confirmed


@action(
    AGREEMENT,
    "end",
    who=SIGNERS,
    effect=Effect.NARROWS,
    past="ended an agreement",
    button="End the agreement",
    more="Either organisation does it alone. From then on apps that need it cannot be opened.",
)
def end(
    ctx: Context,
    agreement_id: AgreementId,
    reason: Reason,
    at: Annotated[Moment | None, Arg("When it ends; now by default.", "2027-06-30")] = None,
) -> Agreement:
    """End an agreement now or at a later moment, or decline to confirm it.

    Raises NotFound, NotPermitted, Invalid (later than its own end), Conflict (over already).
    """
    agreement = _visible(ctx, agreement_id, lock=True)
    if policy.side_of(ctx.actor, agreement.vendor, agreement.tenant) is None:
        raise Denied(agreement)
    if policy.state_of(agreement, ctx.now) in {AgreementState.ENDED, AgreementState.LAPSED}:
        raise Conflict("agreement_over", "This agreement has already ended.")
    faults = {} if reason.strip() else {"reason": "reason_missing"}
    ends = ctx.now if at is None else at
    if ends < ctx.now:
        faults["at"] = "not_in_the_future"
    elif agreement.ends_at is not None and ends > agreement.ends_at:
        faults["at"] = "too_late"
    if faults:
        raise Invalid(
            "agreement_invalid", "The agreement cannot be ended as asked; see fields.", fields=faults
        )
    ended = replace(agreement, ends_at=ends, ended_by=str(ctx.actor), end_reason=reason.strip())
    # Only a confirmed agreement has reminders and lapses; one that is declined ends without either.
    if agreement.confirmed_at is not None:
        ended = replace(ended, due_at=policy.next_due(ended, ctx.now))
    if agreement.confirmed_at is not None and ends == ctx.now:
        ended = _lapsed(ctx, ended)
    _save(ctx, ended)
    return ended


@action(AGREEMENT, "show", who=READERS, effect=Effect.READS)
def get_agreement(ctx: Context, agreement_id: AgreementId) -> Agreement:
    """Show one agreement, with who recorded and confirmed it.

    Raises NotFound, also if the actor belongs to neither organisation.
    """
    return _visible(ctx, agreement_id)


@action(AGREEMENT, "list", who=READERS, effect=Effect.READS, sorts=SORTS)
def list_agreements(ctx: Context, query: AgreementQuery, page: PageQuery = FIRST_PAGE) -> list[Agreement]:
    """List the agreements of your organisation; the platform's staff list all.

    Raises NotPermitted.
    """
    if not ctx.actor.is_platform:
        own_tenant, own_vendor = ctx.actor.tenant, ctx.actor.vendor
        query = replace(
            query,
            tenant=query.tenant or ("" if own_vendor else own_tenant or ""),
            vendor=query.vendor or own_vendor or "",
        )
    if not policy.may_see(ctx.actor, query.vendor, query.tenant):
        raise not_shown("these agreements", Readers.BOTH)
    return store.list_agreements(ctx.tx, query, page)


# What an app needs.


def kinds_in_force(ctx: Context, vendor: VendorId, tenant: TenantId) -> frozenset[str]:
    """Return the kinds of agreements that are in force between a vendor and a hospital itself."""
    # Cached, since each token of a backend service needs it. The spans are cached, not what is in force, which depends on the time.
    key = ("spans", vendor, tenant)
    spans = ctx.cached(AGREEMENTS, key, lambda ctx: _spans(ctx, vendor, tenant))
    return frozenset(
        kind for kind, begins, ends in spans or () if begins <= ctx.now and (ends is None or ctx.now < ends)
    )


def kinds_of_vendors(ctx: Context, vendors: Collection[VendorId]) -> Mapping[tuple[str, str], frozenset[str]]:
    """Read the kinds of agreements that are in force between some vendors and each hospital itself."""
    in_force: dict[tuple[str, str], set[str]] = {}
    for agreement in store.list_confirmed_of(ctx.tx, vendors):
        if policy.is_in_force(agreement, ctx.now):
            in_force.setdefault((agreement.vendor, agreement.tenant), set()).add(agreement.kind)
    return {key: frozenset(kinds) for key, kinds in in_force.items()}


def _spans(
    ctx: Context, vendor: VendorId, tenant: TenantId
) -> tuple[tuple[str, datetime, datetime | None], ...]:
    """Return kind, beginning and end of each confirmed agreement, including those that are over."""
    confirmed = store.list_confirmed(ctx.tx, vendor, tenant, "")
    return tuple((each.kind, each.effective_at, each.ends_at) for each in confirmed)


def missing_for_app(ctx: Context, tenant: Tenant, app: App, roles: Collection[str]) -> frozenset[str]:
    """Return the kinds of agreements that an app lacks to be installed at a hospital for some roles (C189)."""
    environment = environment_of(tenant)
    book = policies.current(ctx).book_at(tenant.id, ctx.now, app.id)
    of_app = clients.facts_of_apps(ctx, (app.id,)).get(app.id, ())
    # A sandbox client does not work at a production hospital (C4).
    working = [client for client in of_app if client.environment is environment]
    in_force = kinds_in_force(ctx, app.vendor, tenant.id)
    return policy.missing(book, working, environment, roles, in_force, now=ctx.now)


def missing_detail(kinds: Collection[str], vendor: str, tenant: str) -> str:
    """Return the sentence that says which agreements are missing and what to do."""
    return (
        f"The vendor and the hospital have no agreement in force of these kinds: {policy.listed(kinds)}. Record each with"
        f" `hilum agreement add --vendor {vendor} --tenant {tenant} --kind ...`; the other organisation confirms it."
    )


# What is due.


def follow_due(ctx: Context) -> int:
    """Record which agreements ended or began and remind of ends, for at most a batch; return how many. Call again until it returns 0."""
    due = store.list_due(ctx.tx, ctx.now)
    for agreement in due:
        after = replace(agreement, due_at=policy.next_due(agreement, ctx.now))
        if agreement.ends_at is not None and agreement.ends_at <= ctx.now:
            after = _lapsed(ctx, after)
        else:
            _close_findings(ctx, agreement)
            _announce(ctx, agreement)
        _save(ctx, after)
    return len(due)


def _save(ctx: Context, agreement: Agreement) -> None:
    """Store a changed agreement, and advance the epoch of the facts. ``add`` need not: an unconfirmed agreement has no effect."""
    store.save_agreement(ctx.tx, agreement)
    ctx.advance_epoch(AGREEMENTS, f"agreement/{agreement.id}")


def _lapsed(ctx: Context, over: Agreement) -> Agreement:
    """Return an agreement that is over, as a finding unless another covers it; record and announce a finding."""
    assert over.ends_at is not None
    after = replace(over, due_at=None)
    if policy.is_covered(over, store.list_same_kind(ctx.tx, over, ctx.now), ctx.now):
        return after
    ctx.record(_event("agreements.agreement.lapse", over))
    _notify(ctx, over, MailKind.AGREEMENT_LAPSED, EventKind.AGREEMENT_LAPSED, over.ends_at)
    return replace(after, finding_since=over.ends_at)


def _announce(ctx: Context, agreement: Agreement) -> None:
    """Remind both organisations of an agreement that ends soon, unless another covers it then."""
    if agreement.ends_at is None or agreement.ends_at - ctx.now > max(REMIND_BEFORE):
        return
    if not policy.is_covered(
        agreement, store.list_same_kind(ctx.tx, agreement, agreement.ends_at), agreement.ends_at
    ):
        _notify(ctx, agreement, MailKind.AGREEMENT_ENDING, EventKind.AGREEMENT_ENDING, ctx.now)


def _close_findings(ctx: Context, begun: Agreement) -> None:
    """Close the findings that an agreement covers, if it is in force."""
    if not policy.is_in_force(begun, ctx.now):
        return
    same_kind = store.list_same_kind(ctx.tx, begun, ctx.now)
    if covered := [each.id for each in same_kind if each.finding_since is not None]:
        store.close_findings(ctx.tx, covered)


def _notify(ctx: Context, agreement: Agreement, mail: MailKind, event: EventKind, at: datetime) -> None:
    assert agreement.ends_at is not None
    ends = agreement.ends_at.isoformat()
    kind = agreement.kind.replace("_", " ")
    cause = f"agreements/{agreement.id}/{mail.value}/{at.isoformat()}"
    own = {"agreement_id": agreement.id, "vendor_id": agreement.vendor, "tenant": agreement.tenant}
    notices.put_event(ctx, VendorEvent(event, agreement.vendor, cause, own | {"kind": kind, "ends": ends}))
    facts = _facts(ctx, agreement) | {"ends": ends}
    _mail_vendor(ctx, agreement, mail, cause, facts)
    _mail_hospital(ctx, agreement, mail, cause, facts)


def _ask_other(ctx: Context, added: Agreement) -> None:
    """Mail the organisation that is to confirm an agreement, at most once a day for a vendor and a hospital."""
    by = added.recorded_for
    cause = f"agreements/asked/{added.vendor}/{added.tenant}/{by.value}/{ctx.now:%Y-%m-%d}"
    send = _mail_hospital if by is Side.VENDOR else _mail_vendor
    send(ctx, added, MailKind.AGREEMENT_ASKED, cause, _facts(ctx, added))


def _facts(ctx: Context, agreement: Agreement) -> dict[str, str]:
    tenant = identity.find_tenant(ctx, agreement.tenant)
    return {
        "vendor": _shown(registry.get_vendor(ctx, agreement.vendor).name, agreement.vendor),
        "hospital": _shown(agreement.entity or (tenant.name if tenant else ""), agreement.tenant),
        "agreement": agreement.kind.replace("_", " "),
        "id": agreement.id,
    }


def _mail_vendor(
    ctx: Context, agreement: Agreement, mail: MailKind, cause: str, facts: dict[str, str]
) -> None:
    for contact in contacts.proved_contacts(ctx, agreement.vendor, ContactKind.OWNER):
        notices.put_mail(ctx, Mail(mail, contact.address, cause, facts, vendor=agreement.vendor))


def _mail_hospital(
    ctx: Context, agreement: Agreement, mail: MailKind, cause: str, facts: dict[str, str]
) -> None:
    """Mail the administrators of the hospital. It is not stored as the vendor's notice, whose members would read the addresses."""
    identity.mail_administrators(ctx, agreement.tenant, mail, cause, facts)


def _shown(name: str, otherwise: str) -> str:
    """Return a name if a mail accepts it, otherwise the id: a mail that cannot be composed would hold up those after it."""
    return name if plain_name(name) else otherwise


# Common parts.


def _named_kinds(ctx: Context, tenant: TenantId) -> frozenset[str]:
    book = policies.current(ctx).book_at(tenant, ctx.now)
    entries = [entry for category in book.categories.values() for entry in category.entries.values()]
    return frozenset(kind for entry in entries for kind in entry.agreements)


def _require_counting(ctx: Context, subject: Agreement | NewAgreement) -> None:
    if not identity.counts_as_one_of_two(ctx, PersonId(ctx.actor.id)):
        raise Denied(subject, "account_too_new", _TOO_NEW)


def _other(agreement: Agreement) -> str:
    return "the hospital" if agreement.recorded_for is Side.VENDOR else "the vendor"
