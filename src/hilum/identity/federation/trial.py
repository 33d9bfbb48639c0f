"""The trial of an identity provider: a check of everything that a sign-in needs, each with what to do if it fails."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qsl, urlencode, urlsplit

import orjson

from hilum.foundation.infra.fetch import Fetched
from hilum.foundation.kernel.errors import Unavailable
from hilum.foundation.kernel.lists import counted
from hilum.foundation.kernel.ports import Clock
from hilum.identity.federation import id_token, live
from hilum.identity.federation.live import Providers
from hilum.identity.federation.models import SKEW, Fault, Finding, Metadata, Provider, Trial, Unreached

_FIX = {
    Fault.HOST_NOT_ALLOWED: "Ask the platform's staff to allow the host: `hilum idp allow`.",
    Fault.PROVIDER_UNREACHABLE: "Check the issuer, and whether this platform reaches it over https on a public address.",
    Fault.METADATA_WRONG: "Set the issuer exactly as the provider states it there, with or without a slash at the end.",
    Fault.KEYS_UNREADABLE: "Ask whoever runs the provider: jwks_uri must return its public keys.",
}
TRIED_CODE = "hilum-trial-not-a-code"
TRIED_STATE = "hilum-trial"


async def try_out(
    providers: Providers, provider: Provider, allowed: frozenset[str], *, returns_to: str, clock: Clock
) -> Trial:
    """Check a provider as a sign-in would use it. Nobody is signed in, and nothing is stored."""
    settings, findings = (
        provider.settings,
        [Finding("the redirect URI to register", ok=True, detail=returns_to)],
    )
    try:
        metadata = await providers.metadata(settings, allowed, refresh=True)
        answer = await providers.discovery(settings)
    except Unreached as error:
        findings.append(_failed("discovery", error))
        return Trial(tuple(findings))
    findings.append(Finding("discovery", ok=True, detail=f"{settings.issuer} describes itself"))
    findings.append(clock_finding(answer, clock.now()))
    findings += [*described_findings(answer, provider)]
    try:
        jwks = await providers.keys(settings, metadata, "", refresh=True)
        usable = len(id_token.usable_keys(jwks, settings.algorithm))
        fix = f"No key there can verify {settings.algorithm}. Set the algorithm that the provider signs with."
        findings.append(Finding("keys", ok=usable > 0, detail=f"{usable} usable" if usable else fix))
    except Unreached as error:
        findings.append(_failed("keys", error))
    findings.append(await _client_finding(providers, provider, metadata, returns_to))
    findings.append(await _redirect_finding(providers, provider, metadata, returns_to))
    return Trial(tuple(findings))


def _failed(check: str, error: Unreached) -> Finding:
    return Finding(check, ok=False, detail=f"{error.detail} {_FIX.get(error.fault, '')}".strip())


def clock_finding(answer: Fetched, now: datetime) -> Finding:
    """Compare a provider's clock with this server's, by the Date header of its response."""
    try:
        date = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return Finding("clock", ok=True, detail="not stated")
    apart = abs((date if date.tzinfo else date.replace(tzinfo=UTC)) - now)
    # The header has whole seconds.
    ok = apart <= SKEW + timedelta(seconds=1)
    seconds = int(apart.total_seconds())
    fix = "" if ok else f": more than {int(SKEW.total_seconds())} are refused. Set one of the two clocks"
    return Finding("clock", ok=ok, detail=f"{counted(seconds, 'second')} apart{fix}")


def described_findings(answer: Fetched, provider: Provider) -> list[Finding]:
    """Compare a provider's metadata with what its settings need. A list that it does not publish is assumed to be complete."""
    stated, settings = orjson.loads(answer.body), provider.settings

    def lacks(name: str, value: str) -> bool:
        supported = stated.get(name)
        return isinstance(supported, list) and value not in supported

    needed = (
        ("response type", "response_types_supported", "code"),
        ("PKCE", "code_challenge_methods_supported", "S256"),
        ("algorithm", "id_token_signing_alg_values_supported", settings.algorithm),
        ("client authentication", "token_endpoint_auth_methods_supported", settings.client_auth.value),
        *(("scope", "scopes_supported", each) for each in settings.scopes),
    )
    return [
        Finding(
            check,
            ok=not lacks(name, value),
            detail=value if not lacks(name, value) else f"{value} is not in the provider's {name}.",
        )
        for check, name, value in needed
    ]


async def _client_finding(
    providers: Providers, provider: Provider, metadata: Metadata, returns_to: str
) -> Finding:
    """Request a token with an invented code: a provider that accepts the client refuses the code, not the client."""
    form = {
        "grant_type": "authorization_code",
        "code": TRIED_CODE,
        "redirect_uri": returns_to,
        "code_verifier": "v" * 43,
    }
    try:
        answer = await providers.ask_token(provider, metadata, form, "")
    except Unreached as error:
        return _failed("client credentials", error)
    stated = live.json_object(answer)
    code = stated.get("error") if stated else None
    if code == "invalid_grant":
        return Finding("client credentials", ok=True, detail="accepted")
    fix = f"The provider answers {answer.status} {str(code)[:40]!r}. Check the client id, the secret and the method."
    return Finding("client credentials", ok=False, detail=fix)


async def _redirect_finding(
    providers: Providers, provider: Provider, metadata: Metadata, returns_to: str
) -> Finding:
    """Request a sign-in without a page: a provider that accepts the redirect URI redirects there, if only with an error."""
    check = "redirect URI"
    parameters = {
        "response_type": "code",
        "client_id": provider.settings.client_id,
        "redirect_uri": returns_to,
        "scope": "openid",
        "state": TRIED_STATE,
        "nonce": TRIED_STATE,
        "prompt": "none",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
    }
    joined = "&" if "?" in metadata.authorization_endpoint else "?"
    try:
        answer = await providers.look(f"{metadata.authorization_endpoint}{joined}{urlencode(parameters)}")
    except Unavailable:
        return Finding(check, ok=False, detail="The authorization endpoint does not answer.")
    location = answer.headers.get("location", "")
    came_back = location.partition("?")[0] == returns_to
    if came_back and dict(parse_qsl(urlsplit(location).query)).get("state") == TRIED_STATE:
        return Finding(check, ok=True, detail="registered")
    return Finding(
        check,
        ok=False,
        detail=f"The provider answers {answer.status} and does not redirect back. Register exactly {returns_to} there.",
    )
