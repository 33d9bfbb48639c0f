"""Add domains of vendors, record how they were checked, renew their proofs and record their end."""

from collections.abc import Sequence
from dataclasses import replace

from hilum.apps.contacts import domain_policy as policy
from hilum.apps.contacts import store
from hilum.apps.contacts.domain_models import (
    CHECKS_BOUND,
    DOMAINS_BOUND,
    RENEWAL_BATCH,
    Domain,
    DomainState,
    ListedContact,
)
from hilum.apps.contacts.models import WINDOW, Contact, ContactKind, ContactState
from hilum.apps.contacts.policy import may_read
from hilum.apps.contacts.policy import state_of as contact_state
from hilum.apps.registry import service as registry
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotFound, Readers, not_shown
from hilum.foundation.kernel.ids import VendorId
from hilum.foundation.kernel.pages import FIRST_PAGE, PageQuery
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event
from hilum.records.notices import service as notices
from hilum.records.notices.models import EventKind, Mail, MailKind, VendorEvent


def add_domain(ctx: Context, vendor: VendorId, name: str) -> Domain:
    """Add a domain of a vendor, which is not proved yet. Raises NotFound (vendor), NotPermitted, Invalid, Conflict."""
    event = Event("contacts.domain.add", facts={"vendor": vendor})
    _require_ours(ctx, vendor)
    if not policy.may_manage(ctx.actor, vendor):
        raise audit.refusal(ctx, event)
    registry.get_vendor(ctx, vendor)
    parsed = policy.parse_name(name)
    if not parsed:
        raise Invalid(
            "domain_invalid", "The domain is invalid; see fields.", fields={"name": "domain_malformed"}
        )
    if len(store.domains_of(ctx.tx, vendor)) >= DOMAINS_BOUND:
        raise Conflict("domains_full", f"A vendor has at most {DOMAINS_BOUND} domains. Remove one first.")
    # Each addition draws a new token, so a file that was left behind proves nothing later.
    added = Domain(ctx.ids.new("dom"), vendor, parsed, ctx.ids.secret(), str(ctx.actor), ctx.now)
    if not store.DOMAINS.add_new(ctx.tx, added):
        raise Conflict("domain_exists", "The vendor already has this domain.")
    audit.record(ctx, replace(event, facts=event.facts | {"domain": added.id, "name": parsed}))
    return added


def list_domains(ctx: Context, vendor: VendorId, page: PageQuery = FIRST_PAGE) -> list[Domain]:
    """List a vendor's domains by id. Raises NotFound, NotPermitted."""
    _require_ours(ctx, vendor)
    if not may_read(ctx.actor, vendor):
        raise not_shown("domains", Readers.VENDOR)
    registry.get_vendor(ctx, vendor)
    return store.DOMAINS.page(ctx.tx, page, vendor=vendor)


def remove_domain(ctx: Context, vendor: VendorId, domain_id: str) -> Domain:
    """Remove a domain; its proof ends. Raises NotFound, NotPermitted."""
    domain = _ours(ctx, vendor, domain_id)
    event = Event("contacts.domain.remove", facts=_facts(domain))
    if not policy.may_manage(ctx.actor, vendor):
        raise audit.refusal(ctx, event)
    store.DOMAINS.delete(ctx.tx, id=domain.id)
    audit.record(ctx, event)
    return domain


def begin_check(ctx: Context, vendor: VendorId, domain_id: str) -> Domain:
    """Count one check and return the domain to be fetched, outside any transaction. Raises NotFound, NotPermitted (right, too many today)."""
    domain = _ours(ctx, vendor, domain_id)
    event = Event("contacts.domain.check", facts=_facts(domain))
    if not policy.may_check(ctx.actor, vendor):
        raise audit.refusal(ctx, event)
    # The name may be a stranger's, whom Hilum must not be made to flood.
    if not store.spend(ctx.tx, f"check/{vendor}", CHECKS_BOUND, ctx.now, ctx.now - WINDOW):
        detail = f"A vendor's domains are checked at most {CHECKS_BOUND} times a day. Try again tomorrow."
        raise audit.refusal(ctx, replace(event, reason="domain_check_bound"), detail)
    return domain


def end_check(ctx: Context, checked: Domain, fault: str) -> Domain:
    """Record how a check ended: it proves the domain, or says why not. Raises NotFound if the domain was removed meanwhile."""
    domain = store.DOMAINS.get(ctx.tx, checked.id, lock=True)
    # Removed and added again is another domain, with another token.
    if domain.token != checked.token:
        raise store.DOMAINS.missing()
    noted = policy.after_check(domain, fault, ctx.now)
    audit.record(ctx, Event("contacts.domain.check", facts=_facts(noted) | {"fault": fault or "none"}))
    if not fault:
        assert noted.proof_ends_at is not None, "a proof has an end"
        facts = _event_facts(noted) | {"until": noted.proof_ends_at.isoformat()}
        cause = f"domain-proved/{noted.id}/{noted.proof_ends_at.isoformat()}"
        notices.put_event(ctx, VendorEvent(EventKind.DOMAIN_PROVED, noted.vendor, cause, facts))
    elif policy.warns(noted, ctx.now):
        noted = _warn(ctx, noted)
    store.DOMAINS.save(ctx.tx, noted)
    return noted


def _warn(ctx: Context, domain: Domain) -> Domain:
    """Mail the vendor's proved owner and security contacts that a proof is not renewed and ends soon."""
    assert domain.proof_ends_at is not None, "warned of it"
    ends = domain.proof_ends_at.isoformat()
    facts = {"vendor": registry.get_vendor(ctx, domain.vendor).name, "domain": domain.name, "ends": ends}
    for each in proved_contacts(ctx, domain.vendor, ContactKind.OWNER, ContactKind.SECURITY):
        cause = f"domain-ends/{domain.id}/{ends}"
        notices.put_mail(ctx, Mail(MailKind.DOMAIN_ENDS, each.address, cause, facts, vendor=domain.vendor))
    return replace(domain, warned_for=domain.proof_ends_at)


def proved_contacts(ctx: Context, vendor: VendorId, *kinds: ContactKind) -> list[Contact]:
    """List a vendor's contacts of some kinds (none: of every kind) whose address is proved now."""
    wanted = kinds or tuple(ContactKind)
    found = store.all_of(ctx.tx, vendor)
    return [
        each for each in found if each.kind in wanted and contact_state(each, ctx.now) is ContactState.PROVED
    ]


def proved_names(ctx: Context, vendor: VendorId) -> list[str]:
    """Return the names of a vendor's domains that are proved now (C7)."""
    found = store.domains_of(ctx.tx, vendor)
    return [each.name for each in found if policy.state_of(each, ctx.now) is DomainState.PROVED]


def seen(ctx: Context, contacts: Sequence[Contact]) -> list[ListedContact]:
    """Return contacts with whether their address is at a domain that is proved now."""
    proved = {vendor: proved_names(ctx, vendor) for vendor in {each.vendor for each in contacts}}
    return [ListedContact(each, policy.is_of(each.address, proved[each.vendor])) for each in contacts]


# What is due.


def claim_renewals(ctx: Context) -> list[Domain]:
    """Return domains whose proof is to be renewed now, at most a batch; each is returned once a day until it is renewed or ends."""
    due = store.list_renewable(ctx.tx, ctx.now, RENEWAL_BATCH)
    for domain in due:
        # Before it is fetched: a process that dies then costs one try, and the host is not asked over and over.
        store.DOMAINS.save(ctx.tx, replace(domain, next_check_at=policy.next_renewal(ctx.now)))
    return due


def lapse_due(ctx: Context) -> int:
    """Record proofs of domains that have ended, at most a batch; return how many. Call again until it returns 0."""
    ended = store.list_ended_domains(ctx.tx, ctx.now)
    for domain in ended:
        assert domain.proof_ends_at is not None, "listed by it"
        store.DOMAINS.save(ctx.tx, replace(domain, lapsed_at=ctx.now, next_check_at=None))
        audit.record(ctx, Event("contacts.domain.lapse", facts=_facts(domain)))
        since = domain.proof_ends_at.isoformat()
        facts = _event_facts(domain) | {"since": since}
        cause = f"domain-lapsed/{domain.id}/{since}"
        notices.put_event(ctx, VendorEvent(EventKind.DOMAIN_LAPSED, domain.vendor, cause, facts))
    return len(ended)


def _require_ours(ctx: Context, vendor: VendorId) -> None:
    if ctx.actor.vendor is not None and ctx.actor.vendor != vendor:
        raise NotFound("vendor_not_found", "There is no such vendor.")


def _ours(ctx: Context, vendor: VendorId, domain_id: str) -> Domain:
    """Get a domain of a vendor, locked. Raises NotFound, also for another vendor's."""
    _require_ours(ctx, vendor)
    domain = store.DOMAINS.get(ctx.tx, domain_id, lock=True)
    if domain.vendor != vendor:
        raise store.DOMAINS.missing()
    return domain


def _facts(domain: Domain) -> dict[str, str]:
    return {"domain": domain.id, "vendor": domain.vendor, "name": domain.name}


def _event_facts(domain: Domain) -> dict[str, str]:
    return {"domain_id": domain.id, "vendor_id": domain.vendor}
