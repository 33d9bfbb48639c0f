"""The sandbox site: one Starlette application, on a different site from the platform, which it reaches by HTTP only."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.applications import Starlette

from hilum.foundation.infra.settings import Settings
from hilum.foundation.kernel.ports import Clock, Ids
from hilum.foundation.web import errors
from hilum.foundation.web.pages import Pages, Shell
from hilum.foundation.web.static import Assets
from hilum.foundation.web.urls import Urls
from hilum_ehr.fhirserver.routes import FhirServer
from hilum_ehr.sandbox import samples
from hilum_ehr.sandbox.clients import plan
from hilum_ehr.sandbox.credentials import FILE_NAME, ChartLists, CredentialsFile
from hilum_ehr.sandbox.ehr import routes as ehr
from hilum_ehr.sandbox.ehr.failing import ChartFaults
from hilum_ehr.sandbox.ehr.feed import Feed
from hilum_ehr.sandbox.ehr.own_apps import OwnApps
from hilum_ehr.sandbox.ehr.platform import Platform
from hilum_ehr.sandbox.ehr.records import Records
from hilum_ehr.sandbox.ehr.sessions import Sessions
from hilum_ehr.sandbox.faults import FHIR_FOLDER, FaultBook
from hilum_ehr.sandbox.site import Site
from hilum_ehr.sandbox.snapshots import SnapshotBook, Visitors
from hilum_ehr.synthesis.policy import hospitals

HERE = Path(__file__).parent
# The inspector reads the record with the least role that may: an auditor changes nothing.
INSPECTOR_ROLE = "auditor"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The site, and the function that closes its connections."""

    app: Starlette
    close: Callable[[], Awaitable[None]]


def build(settings: Settings, clock: Clock, ids: Ids, server_of: Callable[[str], FhirServer]) -> Sandbox:
    """Build the site of a seeded sandbox. ``server_of`` opens a hospital's FHIR store. Raises Unavailable if it is not seeded."""
    credentials_file = CredentialsFile.load(settings.data_dir / FILE_NAME)
    urls = Urls(settings.base_url, settings.sandbox_url)
    registered = plan(settings.sandbox_url)
    assets = Assets(HERE / "static")
    links = (
        ("Hospitals", "/sandbox"),
        ("Apps", "/apps"),
        ("Accounts", "/sandbox/accounts"),
        ("Platform", urls.home()),
    )
    # `sandbox` makes every page state that everyone is synthetic.
    shell = Shell(sandbox=True, home="/sandbox", site="Hilum sandbox", links=links, guides=urls.guides())
    pages = Pages(assets, shell, folders=[HERE / "templates"])
    # Empty for a hospital whose client was not seeded: the platform refuses its launches, and the site starts.
    secrets = {
        system_client.tenant: (
            system_client.client_id,
            credentials_file.client_secrets.get(system_client.client_id, ""),
        )
        for system_client in registered.ehr_clients
    }
    book = SnapshotBook(settings.data_dir)

    def snapshot_client(tenant: str) -> tuple[str, str] | None:
        card = book.find(tenant)
        return None if card is None else (card.client_id, card.client_secret)

    auditor = next(staff.username for staff in registered.staff if staff.role == INSPECTOR_ROLE)
    platform = Platform(urls, clock, secrets, credentials_file.api_tokens.get(auditor, ""), snapshot_client)
    feed = Feed(platform)
    site = Site(
        urls=urls,
        pages=pages,
        plan=registered,
        hospitals=hospitals(),
        credentials_file=credentials_file,
        chart_lists=ChartLists(settings.data_dir / FILE_NAME, credentials_file),
        snapshots=book,
        visitors=Visitors(),
        records=Records(server_of),
        platform=platform,
        feed=feed,
        sessions=Sessions(clock, ids),
        own_apps=OwnApps(),
        failing=ChartFaults(FaultBook(settings.data_dir / FHIR_FOLDER, clock), clock),
        clock=clock,
        ids=ids,
        public=settings.sandbox_public,
    )
    app = Starlette(routes=[*ehr.routes(site), *samples.routes(site), *assets.routes()])
    errors.install(app, pages)

    async def close() -> None:
        # The feed first: it uses the platform's connections.
        await feed.close()
        await platform.close()

    return Sandbox(app, close)
