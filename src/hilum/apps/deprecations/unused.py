"""Notice of clients' secrets and keys that nobody used for 90 days, to the vendors whose they are (C219). Nothing ends by it."""

from hilum.apps.clients import service as clients
from hilum.apps.clients.models import UnusedClient
from hilum.apps.contacts import service as contacts
from hilum.apps.registry import service as registry
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.pages import PAGE_BOUND, PageQuery
from hilum.records.notices import service as notices
from hilum.records.notices.models import Mail, MailKind


def propose_removal(ctx: Context, after: str) -> str:
    """Mail the proved contacts of vendors about the next clients with unused credentials; return the client to continue ``after``, empty after the last.

    One mail about a client for as long as the same of it stays unused.
    """
    found = clients.list_unused(ctx, PageQuery(after, PAGE_BOUND))
    apps = registry.read_apps(ctx, {each.app for each in found}) if found else {}
    for each in found:
        facts = {"client": each.name, "app": apps[each.app].name, "client_id": each.client}
        for address in dict.fromkeys(to.address for to in contacts.proved_contacts(ctx, each.vendor)):
            mail = Mail(
                MailKind.CREDENTIALS_UNUSED, address, _cause(each), facts, vendor=each.vendor, app=each.app
            )
            notices.put_mail(ctx, mail)
    return found[-1].client if len(found) == PAGE_BOUND else ""


def _cause(unused: UnusedClient) -> str:
    # Dated by the last creation or use: another credential that becomes unused later, or the same one again after a use, gets a mail of its own.
    last = max(
        filter(None, (at for each in unused.credentials for at in (each.created_at, each.last_used_at)))
    )
    return f"unused/{unused.client}/{last:%Y-%m-%dT%H}"
