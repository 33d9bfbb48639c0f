"""Record, confirm and end agreements, say which an app lacks, and follow their ends."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from hilum.agreements import policy, store
from hilum.agreements.models import (
    AGREEMENTS,
    REMIND_BEFORE,
    WAITING_BOUND,
    Agreement,
    AgreementQuery,
    AgreementState,
    NewAgreement,
    Side,
)
from hilum.attestations import service as attestations
from hilum.audit import service as audit
from hilum.audit.models import Event, Outcome
from hilum.clients import service as clients
from hilum.contacts import service as contacts
from hilum.contacts.models import ContactKind
from hilum.identity import service as identity
from hilum.identity.models import Tenant
from hilum.identity.policy import is_open_to
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict, Invalid, NotFound, Readers, Unavailable, not_shown
from hilum.kernel.ids import PersonId, TenantId, VendorId
from hilum.kernel.pages import FIRST_PAGE, PageQuery
from hilum.notices import service as notices
from hilum.notices.models import EventKind, Mail, MailKind, VendorEvent
from hilum.notices.policy import plain_name
from hilum.policies import service as policies
from hilum.policies.policy import stated
from hilum.registry import service as registry
from hilum.registry.models import App, environment_of

_TOO_NEW = (
    "An agreement takes two people whose accounts are at least a week old, and yours is not. Ask a colleague."
)


def add(ctx: Context, order: NewAgreement) -> Agreement:
    """Record an agreement for the actor's organisation; it counts once the other one has confirmed it.

    Raises NotFound (vendor, hospital), NotPermitted, Invalid, Unavailable (too many wait).
    """
    event = Event(
        "agreements.agreement.add", tenant=order.tenant, facts={"vendor": order.vendor, "kind": order.kind}
    )
    side = policy.side_of(ctx.actor, order.vendor, order.tenant)
    if side is None:
        raise audit.refusal(ctx, event)
    _require_counting(ctx, event)
    vendor = registry.get_vendor(ctx, order.vendor)
    # The row is locked: together, several records must not exceed the bound.
    tenant = identity.get_tenant(ctx, order.tenant, lock=True)
    if not is_open_to(tenant, vendor.id):
        raise identity.no_tenant()
    if faults := policy.order_faults(order, _named_kinds(ctx, tenant.id), ctx.now):
        raise Invalid("agreement_invalid", "The agreement is invalid; see fields.", fields=faults)
    if store.count_waiting(ctx.tx, vendor.id, tenant.id, ctx.now) >= WAITING_BOUND:
        detail = (
            f"{WAITING_BOUND} agreements between the two wait for confirmation. Confirm or end some first."
        )
        raise Unavailable("too_many_agreements", detail)
    added = Agreement(
        id=ctx.ids.new("agr"),
        vendor=vendor.id,
        tenant=tenant.id,
        entity=order.entity.strip(),
        kind=order.kind,
        parties=tuple(each.strip() for each in order.parties),
        document=order.document,
        effective_at=order.effective_at,
        ends_at=order.ends_at,
        recorded_by=str(ctx.actor),
        recorded_for=side,
        recorded_at=ctx.now,
    )
    store.add_agreement(ctx.tx, added)
    _record(ctx, "agreements.agreement.add", added)
    attestations.attest(ctx, policy.signed_state(added))
    _ask_other(ctx, added)
    return added


def confirm(ctx: Context, agreement_id: str, document: str) -> Agreement:
    """Confirm an agreement for the other organisation. ``document``: the digest of the document that this one holds.

    Raises NotFound, NotPermitted (right, of the organisation that recorded it, who recorded it no longer counts), Invalid (another document), Conflict (confirmed or ended).
    """
    found = _visible(ctx, agreement_id, lock=True)
    event = _event("agreements.agreement.confirm", found)
    side = policy.side_of(ctx.actor, found.vendor, found.tenant)
    if side is None:
        raise audit.refusal(ctx, event)
    if side is found.recorded_for:
        detail = f"Your organisation recorded it, so a person of the other one ({_other(found)}) confirms it."
        raise audit.refusal(ctx, replace(event, reason="recorded_by_you"), detail)
    _require_counting(ctx, event)
    # Who recorded it is the other of the two people: a stop on them since then ends what they recorded.
    recorder = PersonId(found.recorded_by.partition(":")[2])
    if not identity.counts_as_one_of_two(ctx, recorder, since=found.recorded_at):
        detail = "Who recorded it is no longer active, or was stopped since. End it, and have a colleague of theirs record it again."
        raise audit.refusal(ctx, replace(event, reason="asker_no_longer_counts"), detail)
    if policy.state_of(found, ctx.now) is not AgreementState.WAITING:
        detail = "This agreement was already confirmed or ended. Read it again."
        raise Conflict("agreement_decided", detail)
    attestations.require(ctx, policy.signed_state(found))
    if document != found.document:
        audit.record(ctx, replace(event, outcome=Outcome.REFUSED, reason="document_differs"))
        detail = "Your document differs from the recorded one. Compare them; if the record is wrong, end it and record the agreement again."
        raise Invalid("agreement_invalid", detail, fields={"document": "document_differs"})
    confirmed = replace(found, confirmed_by=str(ctx.actor), confirmed_at=ctx.now)
    confirmed = replace(confirmed, due_at=policy.next_due(confirmed, ctx.now))
    _save(ctx, confirmed)
    _record(ctx, "agreements.agreement.confirm", confirmed)
    _close_findings(ctx, confirmed)
    attestations.attest(ctx, policy.signed_state(confirmed))
    return confirmed


def end(ctx: Context, agreement_id: str, reason: str, at: datetime | None = None) -> Agreement:
    """End an agreement now or at a later moment, or decline to confirm it. Either organisation does it alone.

    Raises NotFound, NotPermitted, Invalid (later than its own end), Conflict (over already).
    """
    found = _visible(ctx, agreement_id, lock=True)
    if policy.side_of(ctx.actor, found.vendor, found.tenant) is None:
        raise audit.refusal(ctx, _event("agreements.agreement.end", found))
    if policy.state_of(found, ctx.now) in {AgreementState.ENDED, AgreementState.LAPSED}:
        raise Conflict("agreement_over", "This agreement has already ended.")
    attestations.require(ctx, policy.signed_state(found))
    faults = {} if reason.strip() else {"reason": "reason_missing"}
    ends = ctx.now if at is None else at
    if ends < ctx.now:
        faults["at"] = "not_in_the_future"
    elif found.ends_at is not None and ends > found.ends_at:
        faults["at"] = "too_late"
    if faults:
        raise Invalid(
            "agreement_invalid", "The agreement cannot be ended as asked; see fields.", fields=faults
        )
    ended = replace(found, ends_at=ends, ended_by=str(ctx.actor), end_reason=reason.strip())
    if found.confirmed_at is not None:
        ended = replace(ended, due_at=policy.next_due(ended, ctx.now))
    _record(ctx, "agreements.agreement.end", ended, reason=ended.end_reason)
    if found.confirmed_at is not None and ends == ctx.now:
        ended = _lapsed(ctx, ended)
    _save(ctx, ended)
    attestations.attest(ctx, policy.signed_state(ended))
    return ended


def get_agreement(ctx: Context, agreement_id: str) -> Agreement:
    """Get an agreement. Raises NotFound, also for whom it does not concern."""
    return _visible(ctx, agreement_id)


def list_agreements(ctx: Context, query: AgreementQuery, page: PageQuery = FIRST_PAGE) -> list[Agreement]:
    """List agreements; those of a hospital or a vendor list their own. Raises NotPermitted."""
    # Without a filter they list what is theirs, never everything.
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
    # Asked for each token of a backend service, and so cached; what is in force depends on the time, which is judged here.
    key = ("spans", vendor, tenant)
    spans = ctx.cached(AGREEMENTS, key, lambda ctx: _spans(ctx, vendor, tenant))
    return frozenset(
        kind for kind, begins, ends in spans or () if begins <= ctx.now and (ends is None or ctx.now < ends)
    )


def kinds_of_vendors(ctx: Context, vendors: Collection[VendorId]) -> Mapping[tuple[str, str], frozenset[str]]:
    """Read the kinds of agreements that are in force between some vendors and each hospital itself."""
    found: dict[tuple[str, str], set[str]] = {}
    for each in _intact(ctx, lambda ctx: store.list_confirmed_of(ctx.tx, vendors)):
        if each.effective_at <= ctx.now and (each.ends_at is None or ctx.now < each.ends_at):
            found.setdefault((each.vendor, each.tenant), set()).add(each.kind)
    return {key: frozenset(kinds) for key, kinds in found.items()}


def _spans(
    ctx: Context, vendor: VendorId, tenant: TenantId
) -> tuple[tuple[str, datetime, datetime | None], ...]:
    """Return kind, beginning and end of each confirmed agreement that is as it was signed, also of those that are over."""
    found = _intact(ctx, lambda ctx: store.list_confirmed(ctx.tx, vendor, tenant, ""))
    return tuple((each.kind, each.effective_at, each.ends_at) for each in found)


def _intact(ctx: Context, read: Callable[[Context], list[Agreement]]) -> list[Agreement]:
    """Read agreements, and leave out those that are not as they were signed."""
    return attestations.intact(ctx, read, policy.signed_state)


def signed_states(ctx: Context) -> Iterator[tuple[str, str]]:
    """Return subject and digest of every agreement."""
    return map(policy.signed_state, store.read_all(ctx.tx))


def missing_for_app(ctx: Context, tenant: Tenant, app: App, roles: Collection[str]) -> frozenset[str]:
    """Return the kinds of agreements that an app lacks to be installed at a hospital for some roles (C189)."""
    environment = environment_of(tenant)
    book = policies.current(ctx).book_at(tenant.id, ctx.now, app.id)
    found = clients.facts_of_apps(ctx, (app.id,)).get(app.id, ())
    # A sandbox client does not work at a production hospital (C4).
    working = [each for each in found if each.environment is environment]
    held = kinds_in_force(ctx, app.vendor, tenant.id)
    return policy.missing(book, working, environment, roles, held, now=ctx.now)


def missing_detail(kinds: Collection[str], vendor: str, tenant: str) -> str:
    """Return the sentence that says which agreements are missing and what to do."""
    return (
        f"Vendor and hospital have no agreement in force of these kinds: {policy.listed(kinds)}. Record each with"
        f" `hilum agreement add --vendor {vendor} --tenant {tenant} --kind ...`; the other organisation confirms it."
    )


def list_lapsed(ctx: Context, since: datetime, until: datetime, after: str) -> tuple[list[Agreement], str]:
    """List agreements that were over between two moments and that nothing replaced, by id, at most a batch, for the platform itself.

    With the id to go on ``after``, empty at the end. Whoever writes to the database makes none of them lapse: what is not as it was signed is
    left out, and so is what it could have replaced.
    """
    found = store.list_lapsed(ctx.tx, since, until, after)
    lapsed = [
        each
        for each in _intact(ctx, lambda _: found)
        # Since when it is a finding is not signed; when it ended is.
        if each.ends_at is not None and each.ends_at <= until and _all_intact(ctx, each)
    ]
    return lapsed, found[-1].id if found else ""


def _all_intact(ctx: Context, found: Agreement) -> bool:
    """Check whether every confirmed agreement between the parties of one is as it was signed."""
    confirmed = store.list_confirmed(ctx.tx, found.vendor, found.tenant, found.entity)
    return len(_intact(ctx, lambda _: confirmed)) == len(confirmed)


# What is due.


def follow_due(ctx: Context) -> int:
    """Record lapses and beginnings of agreements and announce their ends, at most a batch; return how many. Call again until it returns 0."""
    due = store.list_due(ctx.tx, ctx.now)
    for found in due:
        after = replace(found, due_at=policy.next_due(found, ctx.now))
        if found.ends_at is not None and found.ends_at <= ctx.now:
            after = _lapsed(ctx, after)
        else:
            _close_findings(ctx, found)
            _announce(ctx, found)
        _save(ctx, after)
    return len(due)


def _save(ctx: Context, agreement: Agreement) -> None:
    """Store a changed agreement, and announce the change. What waits to be confirmed counts for nothing, so recording one announces nothing."""
    store.save_agreement(ctx.tx, agreement)
    ctx.advance_epoch(AGREEMENTS, f"agreement/{agreement.id}")


def _lapsed(ctx: Context, over: Agreement) -> Agreement:
    """Record that an agreement is over: a finding, unless another covers it."""
    assert over.ends_at is not None
    after = replace(over, due_at=None)
    if policy.is_covered(over, _alike(ctx, over, ctx.now), ctx.now):
        return after
    _record(ctx, "agreements.agreement.lapse", over)
    _notify(ctx, over, MailKind.AGREEMENT_LAPSED, EventKind.AGREEMENT_LAPSED, over.ends_at)
    return replace(after, finding_since=over.ends_at)


def _announce(ctx: Context, found: Agreement) -> None:
    """Announce the end of an agreement that ends soon, unless another covers it then."""
    if found.ends_at is None or found.ends_at - ctx.now > max(REMIND_BEFORE):
        return
    if not policy.is_covered(found, _alike(ctx, found, found.ends_at), found.ends_at):
        _notify(ctx, found, MailKind.AGREEMENT_ENDING, EventKind.AGREEMENT_ENDING, ctx.now)


def _alike(ctx: Context, found: Agreement, at: datetime) -> list[Agreement]:
    return _intact(ctx, lambda ctx: store.list_alike(ctx.tx, found, at))


def _close_findings(ctx: Context, begun: Agreement) -> None:
    """End the findings that an agreement replaces once it is in force."""
    if policy.is_in_force(begun, ctx.now):
        alike = store.list_alike(ctx.tx, begun, ctx.now)
        closed = [each.id for each in alike if each.finding_since is not None]
        if closed:
            store.close_findings(ctx.tx, closed)


def _notify(ctx: Context, found: Agreement, mail: MailKind, event: EventKind, at: datetime) -> None:
    assert found.ends_at is not None
    ends = found.ends_at.isoformat()
    kind = found.kind.replace("_", " ")
    cause = f"agreements/{found.id}/{mail.value}/{at.isoformat()}"
    own = {"agreement_id": found.id, "vendor_id": found.vendor, "tenant": found.tenant}
    notices.put_event(ctx, VendorEvent(event, found.vendor, cause, own | {"kind": kind, "ends": ends}))
    facts = _facts(ctx, found) | {"ends": ends}
    _mail_vendor(ctx, found, mail, cause, facts)
    _mail_hospital(ctx, found, mail, cause, facts)


def _ask_other(ctx: Context, added: Agreement) -> None:
    """Mail the organisation that is to confirm an agreement, at most once a day about the two."""
    by = added.recorded_for
    cause = f"agreements/asked/{added.vendor}/{added.tenant}/{by.value}/{ctx.now:%Y-%m-%d}"
    send = _mail_hospital if by is Side.VENDOR else _mail_vendor
    send(ctx, added, MailKind.AGREEMENT_ASKED, cause, _facts(ctx, added))


def _facts(ctx: Context, found: Agreement) -> dict[str, str]:
    tenant = identity.find_tenant(ctx, found.tenant)
    return {
        "vendor": _shown(registry.get_vendor(ctx, found.vendor).name, found.vendor),
        "hospital": _shown(found.entity or (tenant.name if tenant else ""), found.tenant),
        "agreement": found.kind.replace("_", " "),
        "id": found.id,
    }


def _mail_vendor(ctx: Context, found: Agreement, mail: MailKind, cause: str, facts: dict[str, str]) -> None:
    for each in contacts.proved_contacts(ctx, found.vendor, ContactKind.OWNER):
        notices.put_mail(ctx, Mail(mail, each.address, cause, facts, vendor=found.vendor))


def _mail_hospital(ctx: Context, found: Agreement, mail: MailKind, cause: str, facts: dict[str, str]) -> None:
    """Mail the administrators of the hospital. Not as the vendor's notice: its members would read the addresses."""
    identity.mail_administrators(ctx, found.tenant, mail, cause, facts)


def _shown(name: str, otherwise: str) -> str:
    """Return a name as a mail may show it, and the id where nothing of it would be left: one mail must not delay all others."""
    return name if plain_name(name) else otherwise


# Common parts.


def _named_kinds(ctx: Context, tenant: TenantId) -> frozenset[str]:
    book = policies.current(ctx).book_at(tenant, ctx.now)
    cells = [cell for category in book.categories.values() for cell in category.cells.values()]
    return frozenset(kind for cell in cells for kind in stated(cell, "agreements"))


def _visible(ctx: Context, agreement_id: str, *, lock: bool = False) -> Agreement:
    found = store.find_agreement(ctx.tx, agreement_id, lock=lock)
    if not policy.may_see(ctx.actor, found.vendor, found.tenant):
        raise NotFound("agreement_not_found", "There is no such agreement.")
    return found


def _require_counting(ctx: Context, event: Event) -> None:
    if not identity.counts_as_one_of_two(ctx, PersonId(ctx.actor.id)):
        raise audit.refusal(ctx, replace(event, reason="account_too_new"), _TOO_NEW)


def _other(agreement: Agreement) -> str:
    return "the hospital" if agreement.recorded_for.value == "vendor" else "the vendor"


def _event(action: str, agreement: Agreement) -> Event:
    facts = {"agreement": agreement.id, "vendor": agreement.vendor, "kind": agreement.kind}
    return Event(action, tenant=agreement.tenant, facts=facts)


def _record(ctx: Context, action: str, agreement: Agreement, *, reason: str = "") -> None:
    event = _event(action, agreement)
    more = {"document": agreement.document, "entity": agreement.entity}
    if agreement.ends_at is not None:
        more["ends_at"] = agreement.ends_at.isoformat()
    if reason:
        more["because"] = reason
    audit.record(ctx, replace(event, facts=event.facts | more))
