"""The jobs that send mail and webhooks, and those that follow deadlines and send notices about them."""

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial

from hilum.apps.agreements import service as agreements
from hilum.apps.contacts import domains
from hilum.apps.contacts import service as contacts
from hilum.apps.contacts.domain_checks import DomainChecker
from hilum.apps.deletion_requests import service as deletion_requests
from hilum.apps.deprecations import service as sunsets
from hilum.apps.deprecations import unused
from hilum.apps.deprecations.models import STEPS_BOUND
from hilum.apps.service_owners import service as service_owners
from hilum.foundation.infra import metrics
from hilum.foundation.infra.fetch import SafeFetcher
from hilum.foundation.infra.settings import Settings
from hilum.foundation.infra.txt_records import TxtRecords
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import NotFound
from hilum.foundation.web.urls import Urls
from hilum.hospitals.requests import service as requests
from hilum.records.notices import mail, service, webhooks
from hilum.records.notices.delivery import Sender
from hilum.records.notices.models import Channel
from hilum.server.schedule import Job, JobLease

SEND_EVERY = timedelta(seconds=1)
COUNT_EVERY = timedelta(seconds=15)
CONTACTS_EVERY = timedelta(minutes=10)
DOMAINS_EVERY = timedelta(minutes=10)
AGREEMENTS_EVERY = timedelta(minutes=10)
SERVICE_OWNERS_EVERY = timedelta(hours=1)
UNUSED_EVERY = timedelta(hours=6)
REQUESTS_EVERY = timedelta(minutes=10)
DELETION_REQUESTS_EVERY = timedelta(minutes=10)
SUNSETS_EVERY = timedelta(minutes=30)
CHANGED_BOOKS_EVERY = timedelta(minutes=1)
WEBHOOK_WITHIN = timedelta(seconds=15)
"""The deadline of one webhook. Source: Standard Webhooks, which recommends 15 to 30 seconds."""
STOP_WITHIN_S = 4.0


def jobs(uow: UnitOfWork, settings: Settings) -> tuple[Job, ...]:
    """List the jobs. Without a mail server, mail waits in the outbox."""
    private = settings.opens_private_fetches
    deliver = webhooks.WebhookSender(
        uow.clock, lambda: SafeFetcher(allow_private=private, deadline=WEBHOOK_WITHIN)
    )
    sending = [_job("send_webhooks", Sender(uow, Channel.WEBHOOK, deliver, webhooks.LANES))]
    if settings.smtp.host:
        post = mail.MailSender(settings.smtp)
        sending.append(_job("send_mail", Sender(uow, Channel.MAIL, post, mail.LANES, rest=post.rest)))
    urls = Urls(settings.base_url)
    return (
        *sending,
        Job("count_notices", COUNT_EVERY, count),
        Job("agreements", AGREEMENTS_EVERY, follow_agreements),
        Job("service_owners", SERVICE_OWNERS_EVERY, follow_service_owners),
        Job("unused_credentials", UNUSED_EVERY, follow_unused),
        Job("requests", REQUESTS_EVERY, announce_requests),
        Job("contacts", CONTACTS_EVERY, lambda job_lease: follow_contacts(job_lease, urls)),
        Job("sunsets", SUNSETS_EVERY, follow_sunsets),
        Job("changed_books", CHANGED_BOOKS_EVERY, follow_changed_books),
        Job(
            "domains",
            DOMAINS_EVERY,
            # A fetcher for each batch, since each has an event loop of its own.
            lambda job_lease: follow_domains(
                job_lease,
                lambda: DomainChecker(SafeFetcher(allow_private=private), records=TxtRecords()),
            ),
        ),
        Job("deletion_requests", DELETION_REQUESTS_EVERY, follow_deletion_requests),
    )


def _job(name: str, sender: Sender) -> Job:
    def run(job_lease: JobLease) -> None:
        sender.run(lambda: not job_lease.stop.is_set() and job_lease.take())
        if job_lease.stop.is_set():
            # An attempt that is interrupted before its answer would leave its mail unknown.
            sender.wait_for_attempts(STOP_WITHIN_S)

    return Job(name, SEND_EVERY, run)


def follow_contacts(job_lease: JobLease, urls: Urls) -> None:
    """Record proofs of contacts that have ended, and ask for new ones before they end."""
    job_lease.repeat(contacts.lapse_due)
    job_lease.repeat(partial(contacts.remind_due, link_url=urls.contact))


def follow_domains(job_lease: JobLease, checker: Callable[[], DomainChecker]) -> None:
    """Renew proofs of domains before they end, and record those that have ended."""
    while not job_lease.stop.is_set() and (due := job_lease.write(domains.claim_renewals)):
        for domain, fault in zip(due, checker().faults(due), strict=True):
            # A domain that was removed meanwhile must not stop the others.
            with suppress(NotFound):
                job_lease.write(partial(domains.end_check, checked=domain, fault=fault))
    job_lease.repeat(domains.lapse_due)


def follow_agreements(job_lease: JobLease) -> None:
    """Record lapses of agreements as findings, and announce their ends."""
    job_lease.repeat(agreements.follow_due)


def follow_service_owners(job_lease: JobLease) -> None:
    """Record which backend services have lost their approver."""
    job_lease.walk(service_owners.follow_approvers)


def follow_unused(job_lease: JobLease) -> None:
    """Mail vendors about their secrets and keys that were not used for long."""
    job_lease.walk(unused.propose_removal)


def announce_requests(job_lease: JobLease) -> None:
    """Mail the people who decide about their hospital's open requests."""
    job_lease.walk(requests.announce)


def follow_deletion_requests(job_lease: JobLease) -> None:
    """Ask vendors to delete data where a certification expired."""
    job_lease.walk(deletion_requests.ask_of_expired)


def follow_sunsets(job_lease: JobLease) -> None:
    """Send notices about scopes that end, to a few hospitals or vendors in each transaction."""
    for _ in range(STEPS_BOUND):
        if job_lease.stop.is_set() or not job_lease.write(sunsets.step):
            return


def follow_changed_books(job_lease: JobLease) -> None:
    """Send hospitals what another version of the policy changes for their apps, a few in each transaction."""
    for _ in range(STEPS_BOUND):
        if job_lease.stop.is_set() or not job_lease.write(sunsets.notify_next):
            return


def count(job_lease: JobLease) -> None:
    """Count open, unknown and dead notices for the metrics."""
    for each in job_lease.read(service.summary):
        channel = each.channel.value
        for state, number in (("open", each.open), ("unknown", each.unknown), ("dead", each.dead)):
            metrics.NOTICES.follow(_constant(number), channel, state)
        age = (job_lease.uow.clock.now() - each.oldest).total_seconds() if each.oldest else 0.0
        metrics.NOTICE_AGE.follow(_constant(age), channel)


def _constant(value: float) -> Callable[[], float]:
    return lambda: value
