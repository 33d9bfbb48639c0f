"""The public pages about review: by which rules apps are certified, and whether a certificate is valid. Anybody may look; nothing is stored.

The policy is read once a minute at most, however many ask; a certificate is verified by the keys and lists that this worker publishes.
"""

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from hilum.authorization.consent.policy import type_name
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.web import forms
from hilum.foundation.web.kit import Kit, trace_of
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import ANY, TIERS, Book, PolicyEntry, Tier, TierRule
from hilum.review.certificates import policy as certificates
from hilum.review.certificates.live import Published
from hilum.review.defects import service as defects
from hilum.review.submissions import service as review
from hilum.surfaces.console import words
from hilum.surfaces.console.parts import clocks
from hilum.surfaces.console.parts.submissions import RULES

METHOD, CHECK = "/trust", "/trust/certificate"
HELD = timedelta(minutes=1)
TEXT_BOUND = 64 * 1024
"""The largest form that the page of certificates takes."""
_PLACES = {"type": "records", "scope": "a scope", "workflow": "a workflow", "placement": "a place"}


class Trust:
    """The public pages of one worker."""

    def __init__(self, kit: Kit) -> None:
        self._kit, self._published = kit, Published(kit.uow)
        self._lock = asyncio.Lock()
        self._until = float("-inf")
        self._facts: Mapping[str, Any] = {}

    def routes(self) -> list[Route]:
        """Build the routes."""
        return [
            Route(METHOD, self.method, methods=["GET"]),
            Route(CHECK, self.ask, methods=["GET"]),
            Route(CHECK, self.check, methods=["POST"]),
        ]

    async def method(self, request: Request) -> Response:
        """Show how apps are certified, by the policy in force."""
        facts = await self._current(request)
        answer = self._kit.pages.render(request, "console/trust/method.html", check=CHECK, **facts)
        tag = f'"{hashlib.sha256(bytes(answer.body)).hexdigest()[:32]}"'
        # Nothing in it depends on the reader, so any cache may keep it.
        headers = {"cache-control": f"public, max-age={int(HELD.total_seconds())}", "etag": tag}
        if tag in request.headers.get("if-none-match", ""):
            return Response(None, 304, headers)
        answer.headers.update(headers)
        return answer

    async def _current(self, request: Request) -> Mapping[str, Any]:
        async with self._lock:
            if self._kit.clock.monotonic() >= self._until:
                self._facts = await self._kit.uow.read(_facts, trace=trace_of(request))
                self._until = self._kit.clock.monotonic() + HELD.total_seconds()
            return self._facts

    async def ask(self, request: Request) -> Response:
        """Show the form that takes a certificate."""
        return self._page(request, "", None)

    async def check(self, request: Request) -> Response:
        """Verify the certificate that was sent: its signature by the published keys, and its status by the published list."""
        try:
            form = await forms.read_form(request, bound=TEXT_BOUND)
        except Invalid as error:
            return self._page(request, "", None, fault=error.detail)
        text = "".join(form.one("certificate").split())
        if not text:
            return self._page(request, "", None, fault="Paste a certificate, or choose its file.")
        return self._page(request, text, await self._verdict(text))

    async def _verdict(self, text: str) -> Mapping[str, Any]:
        await self._published.refresh()
        now, keys = self._kit.clock.now(), self._published.keys
        first = certificates.verify(text, keys, now=now)
        if first.code not in {"", certificates.SANDBOX_ONLY}:
            return {"verdict": first, "claims": _claims_shown(first.claims), "unknown": False}
        listed = self._published.status_list(_list_of(first.claims)) if self._published.is_known else ""
        if not listed:
            return {"verdict": first, "claims": _claims_shown(first.claims), "unknown": True}
        return {
            "verdict": certificates.verify(text, keys, now=now, status_list=listed),
            "claims": _claims_shown(first.claims),
            "unknown": False,
        }

    def _page(
        self, request: Request, text: str, found: Mapping[str, Any] | None, *, fault: str = ""
    ) -> Response:
        return self._kit.pages.render(
            request,
            "console/trust/certificate.html",
            status=422 if fault else 200,
            text=text,
            found=found,
            fault=fault,
            path=CHECK,
            method=METHOD,
        )


def _list_of(claims: Mapping[str, Any]) -> int:
    """Return the number of the status list that a certificate names; -1 if it names none."""
    try:
        number = str(claims["status"]["status_list"]["uri"]).rpartition("/")[2]
    except (KeyError, TypeError):
        return -1
    return int(number) if number.isdecimal() and len(number) < 10 else -1


def _claims_shown(claims: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what a certificate says, as far as a page shows it."""
    found = []
    for name, value in claims.items():
        match name, value:
            case "iat" | "nbf" | "exp", int():
                moment = datetime.fromtimestamp(value, UTC)
                found.append((_CLAIMS[name], f"{moment:%-d %B %Y, %H:%M} UTC"))
            case "status", _:
                continue
            case _, str() | int() | float():
                found.append((_CLAIMS.get(name, _plain(name)), str(value)))
            case _, list():
                found.append((_CLAIMS.get(name, _plain(name)), ", ".join(map(str, value))))
            case _, dict():
                found += [(f"{_plain(name)}: {_plain(str(key))}", _flat(each)) for key, each in value.items()]
    return found


_CLAIMS = {
    "iss": "Issued by",
    "sub": "Certificate",
    "jti": "Certificate",
    "iat": "Issued",
    "nbf": "Holds from",
    "exp": "Holds until",
}


def _plain(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _flat(value: object) -> str:
    match value:
        case dict():
            return ", ".join(f"{name}: {_flat(each)}" for name, each in value.items())
        case list():
            return ", ".join(map(_flat, value))
        case _:
            return str(value)


# --- the methodology -----------------------------------------------------------------------------------------------------------


def _facts(ctx: Context) -> Mapping[str, Any]:
    reading = ctx.as_actor(SYSTEM)
    number = policies.in_force(reading).everywhere
    book = policies.get_version(reading, number)[1]
    made_at, figures = review.view_figures(reading)
    return {
        "number": number,
        "at": ctx.now,
        "figures": clocks.figures(figures),
        "figures_at": made_at,
        "packs": [words.pack_shown(each) for each in policies.view_packs(reading, number)],
        "leakage": defects.view_figures(reading),
        **method_of(book),
    }


def method_of(book: Book) -> dict[str, Any]:
    """Return what a policy says of review, in words: tiers, and for each category and tier what is asked for and within which time."""
    return {
        "title": book.title,
        "digest": book.digest,
        "tiers": [
            (tier.value, [_rule(each) for each in book.tier_rules if each.tier is tier])
            for tier in reversed(TIERS)
        ],
        "categories": [
            {
                "title": category.title,
                "entries": [
                    _entry(book, tier, category.entries[tier]) for tier in TIERS if tier in category.entries
                ],
            }
            for category in sorted(book.categories.values(), key=lambda each: each.title)
            if category.open
        ],
        "evidence": sorted(book.evidence.items()),
        "scenarios": sorted(book.scenarios.items()),
        "checks": sorted(RULES.values()),
        "lane": [
            (each.name, each.within_business_days, sorted(_plain(need) for need in each.requires))
            for each in book.regulated_lane
        ],
    }


def _rule(rule: TierRule) -> str:
    """Return the sentence of a rule, with the kinds of records that it is about in plain words."""
    types = sorted(type_name(each) for each in rule.types if each != ANY)
    words = _PLACES | {"autonomy": "acts on what it writes"} | ({"type": ", ".join(types)} if types else {})
    return rule.because.format_map(words)


def _proofs(entry: PolicyEntry) -> list[str]:
    """Return what a vendor must have proved, as sentences."""
    kinds = sorted(entry.proofs - {"domain"})
    found = [f"Contacts proved by mail: {', '.join(kinds)}"] if kinds else []
    return [*found, "A domain proved to be the vendor's"] if "domain" in entry.proofs else found


def _entry(book: Book, tier: Tier, entry: PolicyEntry) -> dict[str, Any]:
    return {
        "tier": tier.value,
        "disciplines": sorted(each.value for each in entry.disciplines),
        "automatic": entry.review.automatic,
        "first": entry.review.first_answer_business_days,
        "decision": entry.review.decision_business_days,
        "evidence": sorted(book.evidence.get(each, each) for each in entry.evidence) + _proofs(entry),
        "scenarios": len(entry.scenarios),
        "life": entry.certificate_life.days,
    }
