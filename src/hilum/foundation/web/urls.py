"""Every absolute URL of the platform. Nothing else builds paths.

Source: docs/reference/contract.md, Origins and Addresses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.web.style import STYLE_DIGEST


def _no_own_origin(_tenant: str) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Site:
    """The URLs of one tenant's authorization server. ``style_url`` may be empty."""

    tenant: TenantId
    issuer: str
    fhir_base: str
    style_url: str = ""


@dataclass(frozen=True, slots=True)
class Urls:
    """Builds URLs. ``own_origin`` returns a tenant's own ``base_url``; empty if it is served under the platform's."""

    base_url: str
    sandbox_url: str = ""
    console_url: str = ""
    own_origin: Callable[[str], str] = _no_own_origin

    # Origins.

    def origin(self, tenant: str = "") -> str:
        """Return the origin that serves a tenant, or the platform's own."""
        return (self.own_origin(tenant) if tenant else "") or self.base_url

    def is_secure(self, tenant: str = "") -> bool:
        """Check whether that origin is https, so that Secure cookies work on it."""
        return self.origin(tenant).startswith("https://")

    # FHIR and SMART endpoints of a tenant.

    def issuer(self, tenant: str) -> str:
        """Return the tenant's OpenID issuer, which is also ``iss`` of redirects (RFC 9207)."""
        return f"{self.origin(tenant)}{tenant_path(tenant)}"

    def fhir_base(self, tenant: str) -> str:
        """Return the FHIR base URL, without trailing slash: ``iss`` at launch, ``aud`` at authorize."""
        return f"{self.issuer(tenant)}/fhir"

    def smart_configuration(self, tenant: str) -> str:
        return f"{self.fhir_base(tenant)}/.well-known/smart-configuration"

    def openid_configuration(self, tenant: str) -> str:
        return f"{self.issuer(tenant)}/.well-known/openid-configuration"

    def authorization_server_metadata(self, tenant: str) -> str:
        """Return the metadata URL: the well-known part comes before the issuer's path. Source: RFC 8414 section 3.1."""
        return f"{self.origin(tenant)}/.well-known/oauth-authorization-server{tenant_path(tenant)}"

    def authorize(self, tenant: str) -> str:
        return f"{self.issuer(tenant)}/oauth/authorize"

    def authorize_step(self, tenant: str, request_id: str) -> str:
        """Return the URL to which the flow's pages return, with the authorization request they belong to."""
        return with_query(self.authorize(tenant), request=request_id)

    def token(self, tenant: str) -> str:
        return f"{self.issuer(tenant)}/oauth/token"

    def introspect(self, tenant: str) -> str:
        return f"{self.issuer(tenant)}/oauth/introspect"

    def revoke(self, tenant: str) -> str:
        return f"{self.issuer(tenant)}/oauth/revoke"

    def register(self, tenant: str) -> str:
        return f"{self.issuer(tenant)}/oauth/register"

    def jwks(self, tenant: str) -> str:
        return f"{self.issuer(tenant)}/oauth/jwks.json"

    def upstream_jwks(self, tenant: str) -> str:
        """Return where a tenant's FHIR server finds the keys that Hilum authenticates with there."""
        return f"{self.issuer(tenant)}/oauth/upstream-jwks.json"

    def manage(self, tenant: str) -> str:
        """Return the page of a person's connected apps (``management_endpoint``)."""
        return f"{self.issuer(tenant)}/oauth/manage"

    def history(self, tenant: str) -> str:
        """Return the page of what apps did with a person's record."""
        return f"{self.manage(tenant)}/history"

    def consents(self, tenant: str) -> str:
        """Return the download of what a person agreed to."""
        return f"{self.manage(tenant)}/consents"

    def break_glass(self, tenant: str) -> str:
        """Return the page on which a clinician opens restricted records in an emergency."""
        return f"{self.manage(tenant)}/break-glass"

    def style(self, tenant: str) -> str:
        """Return the style document (``smart_style_url``); its URL changes with its content."""
        return f"{self.issuer(tenant)}/oauth/style/{STYLE_DIGEST}.json"

    def site(self, tenant: TenantId) -> Site:
        """Return the URLs of a tenant's authorization server that its verbs need."""
        return Site(tenant, self.issuer(tenant), self.fhir_base(tenant), self.style(tenant))

    # The EHR's launch API.

    def launches(self, tenant: str) -> str:
        return f"{self.issuer(tenant)}/ehr/launches"

    def launchable(self, tenant: str) -> str:
        """Return the URL at which an EHR lists the apps that it may open for a person."""
        return f"{self.issuer(tenant)}/ehr/apps"

    def launch(self, tenant: str, launch_id: str) -> str:
        return f"{self.launches(tenant)}/{segment(launch_id)}"

    def open_launch(self, tenant: str, open_token: str) -> str:
        """Return the URL to which an EHR sends the browser to start a launch."""
        return f"{self.issuer(tenant)}/ehr/open/{segment(open_token)}"

    # Pages for people.

    def signin(self, tenant: str = "", *, then: str = "", fresh: bool = False) -> str:
        """Return the sign-in page of a tenant, or of the staff; ``then`` is the path to continue at.

        ``fresh``: an identity provider must authenticate the person again, even if they are signed in there.
        """
        root = self.issuer(tenant) if tenant else self.console()
        return with_query(f"{root}/signin", then=then, fresh="1" if fresh else "")

    def signin_step(self, tenant: str, step: str, *, then: str = "") -> str:
        """Return the page on which a second factor is entered (``factor``) or set up (``enrol``) before sign-in is finished."""
        return with_query(f"{self.signin(tenant)}/{segment(step)}", then=then)

    def account(self, tenant: str = "", page: str = "") -> str:
        """Return the page of one's own account, or a page below it."""
        root = f"{self.issuer(tenant) if tenant else self.console()}/account"
        return f"{root}/{page}" if page else root

    def signout(self, tenant: str = "") -> str:
        return f"{self.issuer(tenant) if tenant else self.console()}/signout"

    def leave(self, tenant: str, provider: str, *, then: str = "", fresh: str = "") -> str:
        """Return the URL that redirects the browser to a tenant's identity provider."""
        return with_query(f"{self.signin(tenant)}/through/{segment(provider)}", then=then, fresh=fresh)

    def returns_to(self, tenant: str, provider: str) -> str:
        """Return the ``redirect_uri`` of an identity provider. Each provider has its own."""
        return f"{self.leave(tenant, provider)}/return"

    def provider_logout(self, tenant: str, provider: str) -> str:
        """Return the URL for an identity provider's logout tokens (``backchannel_logout_uri``)."""
        return f"{self.leave(tenant, provider)}/logout"

    def enrol(self, tenant: str, link: str) -> str:
        """Return the page of a one-time link, of a tenant or (empty) of the staff."""
        return f"{self.issuer(tenant) if tenant else self.console()}/enrol/{segment(link)}"

    def contact(self, link: str) -> str:
        """Return the page of a one-time link by which a vendor's contact proves its address."""
        return f"{self.base_url}/contacts/{segment(link)}"

    def certificates(self, path: str = "") -> str:
        """Return the public address of a certificate, of the keys or of a status list; ``path`` starts with a slash."""
        return f"{self.base_url}/certificates{path}"

    def console(self, path: str = "") -> str:
        """Return a page of the staff's consoles."""
        return f"{self.console_url or self.base_url}{path}"

    def logo(self, kind: str, owner: str, digest: str) -> str:
        """Return the address of a logo (``pictures``) of an app or a hospital; empty if there is none."""
        return f"{self.base_url}/logos/{kind}/{segment(owner)}/{digest}.png" if digest else ""

    def brand_style(self, colour: str) -> str:
        """Return the sheet of a hospital's colour; empty if it has none."""
        return f"{self.base_url}/brand/{colour.removeprefix('#')}.css" if colour else ""

    def guides(self) -> str:
        """Return the index of the guides."""
        return f"{self.base_url}/guides"

    def home(self) -> str:
        return f"{self.base_url}/"

    def ready(self) -> str:
        """Return the URL of the readiness probe."""
        return f"{self.base_url}/readyz"

    def api(self, path: str) -> str:
        """Return a URL of the control plane's API; ``path`` starts with a slash."""
        return f"{self.base_url}/api/v1{path}"

    # The sandbox site.

    def sandbox(self, path: str = "") -> str:
        return f"{self.sandbox_url}/sandbox{path}"

    def sandbox_apps(self) -> str:
        return f"{self.sandbox_url}/apps"


def tenant_path(tenant: str) -> str:
    """Return a tenant's path on the origin that serves it."""
    return f"/t/{segment(tenant)}"


def segment(text: str) -> str:
    """Encode a text as one path segment."""
    # A slash is encoded too: an id must never add a segment to a path.
    return quote(text, safe="")


def with_query(url: str, **parameters: str) -> str:
    """Return a URL with a query of the parameters that are not empty."""
    present = {name: value for name, value in parameters.items() if value}
    return f"{url}?{urlencode(present)}" if present else url


def path_of(url: str) -> str:
    """Return the path and query of an absolute URL, for a link within its origin."""
    parts = urlsplit(url)
    return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"


def origin_of(url: str) -> str:
    """Return the origin of an absolute URL."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def host_of(url: str) -> str:
    """Return the Host header that a browser sends for a URL: lower case, without the scheme's default port."""
    parts = urlsplit(url)
    default = {"https": ":443", "http": ":80"}.get(parts.scheme, "")
    return parts.netloc.lower().removesuffix(default)
