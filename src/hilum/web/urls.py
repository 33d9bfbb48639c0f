"""Every absolute address, from one family of functions; nothing else puts paths together.

Source: docs/reference/contract.md, Origins and Addresses.
"""

from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from hilum.kernel.ids import TenantId
from hilum.web.style import STYLE_DIGEST


def _no_own_origin(_tenant: str) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Site:
    """The addresses of one tenant's authorization server. ``style_url`` may be empty."""

    tenant: TenantId
    issuer: str
    fhir_base: str
    style_url: str = ""


@dataclass(frozen=True, slots=True)
class Urls:
    """``own_origin`` tells a tenant's own ``base_url``, empty when it lives under the platform's."""

    base_url: str
    sandbox_url: str = ""
    console_url: str = ""
    own_origin: Callable[[str], str] = _no_own_origin

    # What a browser knows as "here".

    def origin(self, tenant: str = "") -> str:
        """Name the origin that serves a tenant, or the platform's own."""
        return (self.own_origin(tenant) if tenant else "") or self.base_url

    def is_secure(self, tenant: str = "") -> bool:
        """Tell whether that origin is https, so that Secure cookies reach it."""
        return self.origin(tenant).startswith("https://")

    # A tenant's FHIR and SMART addresses.

    def issuer(self, tenant: str) -> str:
        """Name the tenant's OpenID issuer; also ``iss`` of redirects (RFC 9207)."""
        return f"{self.origin(tenant)}{tenant_path(tenant)}"

    def fhir_base(self, tenant: str) -> str:
        """Name the FHIR base, without trailing slash: ``iss`` at launch, ``aud`` at authorize."""
        return f"{self.issuer(tenant)}/fhir"

    def smart_configuration(self, tenant: str) -> str:
        return f"{self.fhir_base(tenant)}/.well-known/smart-configuration"

    def openid_configuration(self, tenant: str) -> str:
        return f"{self.issuer(tenant)}/.well-known/openid-configuration"

    def authorization_server_metadata(self, tenant: str) -> str:
        """Source: RFC 8414 section 3.1, the well-known part stands before the issuer's path."""
        return f"{self.origin(tenant)}/.well-known/oauth-authorization-server{tenant_path(tenant)}"

    def authorize(self, tenant: str) -> str:
        return f"{self.issuer(tenant)}/oauth/authorize"

    def authorize_step(self, tenant: str, request_id: str) -> str:
        """Name where the flow's pages come back to, with the request they belong to."""
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

    def manage(self, tenant: str) -> str:
        """Name the page of a person's connected apps (``management_endpoint``)."""
        return f"{self.issuer(tenant)}/oauth/manage"

    def style(self, tenant: str) -> str:
        """Name the style document (``smart_style_url``); its address changes with its content."""
        return f"{self.issuer(tenant)}/oauth/style/{STYLE_DIGEST}.json"

    def site(self, tenant: TenantId) -> Site:
        """Name the addresses of a tenant's authorization server that its verbs need."""
        return Site(tenant, self.issuer(tenant), self.fhir_base(tenant), self.style(tenant))

    # The EHR's door.

    def launches(self, tenant: str) -> str:
        return f"{self.issuer(tenant)}/ehr/launches"

    def launch(self, tenant: str, launch_id: str) -> str:
        return f"{self.launches(tenant)}/{segment(launch_id)}"

    def open_launch(self, tenant: str, open_token: str) -> str:
        """Name where an EHR sends the browser to begin a launch."""
        return f"{self.issuer(tenant)}/ehr/open/{segment(open_token)}"

    # People at a browser.

    def signin(self, tenant: str = "", *, then: str = "") -> str:
        """Name the sign-in page of a tenant, or of the staff; ``then`` is a path to go on to."""
        root = self.issuer(tenant) if tenant else self.console()
        return with_query(f"{root}/signin", then=then)

    def signout(self, tenant: str = "") -> str:
        return f"{self.issuer(tenant) if tenant else self.console()}/signout"

    def enrol(self, tenant: str, link: str) -> str:
        """Return the page behind a one-time link, of a tenant or (empty) of the staff."""
        return f"{self.issuer(tenant) if tenant else self.console()}/enrol/{segment(link)}"

    def console(self, path: str = "") -> str:
        """Name a page of the staff's consoles."""
        return f"{self.console_url or self.base_url}{path}"

    def home(self) -> str:
        return f"{self.base_url}/"

    def ready(self) -> str:
        """Return the address that says whether the platform can answer."""
        return f"{self.base_url}/readyz"

    def api(self, path: str) -> str:
        """Name an address of the control plane's API; ``path`` starts with a slash."""
        return f"{self.base_url}/api/v1{path}"

    # The sandbox site.

    def sandbox(self, path: str = "") -> str:
        return f"{self.sandbox_url}/sandbox{path}"

    def sandbox_apps(self) -> str:
        return f"{self.sandbox_url}/apps"


def tenant_path(tenant: str) -> str:
    """Name a tenant's path on whichever origin serves it."""
    return f"/t/{segment(tenant)}"


def segment(text: str) -> str:
    """Write a text as one path segment."""
    return quote(text, safe="")


def with_query(url: str, **parameters: str) -> str:
    """Add the parameters that are not empty."""
    given = {name: value for name, value in parameters.items() if value}
    return f"{url}?{urlencode(given)}" if given else url


def path_of(url: str) -> str:
    """Give the path and query of an absolute address, for a link within its origin."""
    parts = urlsplit(url)
    return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"


def origin_of(url: str) -> str:
    """Give the origin of an absolute address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def host_of(url: str) -> str:
    """Give the Host value a browser sends for an origin: lower case, without a scheme's default port."""
    parts = urlsplit(url)
    default = {"https": ":443", "http": ":80"}.get(parts.scheme, "")
    return parts.netloc.lower().removesuffix(default)
