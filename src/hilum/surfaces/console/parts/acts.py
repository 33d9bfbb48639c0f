"""What an act that waits for a second person would do, in sentences: never as it is stored."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any

from hilum.authorization.breakglass import policy as breakglass_policy
from hilum.controls.approvals.models import Act, ApprovalKind
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.ids import TenantId
from hilum.surfaces.console import service, words

SENTENCES: Mapping[ApprovalKind, str] = {
    ApprovalKind.CREATE: "Add an account for {name} ({username}), {role} at {place}",
    ApprovalKind.RESET: "Issue a new link into the account of {name} ({username}), {role} at {place}",
    ApprovalKind.FACTORS: "Remove the second factors of {name} ({username}), {role} at {place}",
    ApprovalKind.CHARTS: "Let {username} at {place} open these charts: {charts}",
    ApprovalKind.TENANT: "Change where the data of {place} is, or where its browsers are sent",
    ApprovalKind.SYSTEM_CLIENT: "Add the client {client_name} ({client_type}) of {place}",
    ApprovalKind.SECRET: "Make a new secret for {client_name} ({client_type}) of {place}",
    ApprovalKind.POLICY: "Put version {version} of the policy in force at {tenants}",
    ApprovalKind.EXCEPTION: "Make an exception for {app} at {tenant} until {ends_at}: {kind}",
    ApprovalKind.PROVIDER: "Let people of {place} sign in through {name} at {issuer}",
    ApprovalKind.PROVIDER_HOST: "Allow {origin} to serve identity providers",
    ApprovalKind.PROVIDER_LINK: "Let {subject} of {issuer} enter the account {username} at {place}",
    ApprovalKind.BREAK_GLASS: "Change what clinicians of {place} may open in an emergency",
    ApprovalKind.DISCIPLINES: "Let {username} sign for {disciplines} in review",
    ApprovalKind.OFFBOARDING: "Let {name} leave the platform, for good",
}
_HIDDEN = frozenset(
    {"allows", "allows_digest", "dry_run", "application", "secrets", "provider", "at", "model_card_digest"}
)
"""Parts of an order that are shown as something else, or only prove that nothing has changed."""
_LABELS = {
    "tenants": "Hospitals",
    "tenant": "Hospital",
    "own_of": "Charts that are another account's own",
    "has": "What it has",
    "overlap": "The old secret works for",
    "everywhere": "Version in force everywhere",
    "control": "What is done instead",
    "sentence": "Tier by the rules",
}
_CHOSEN, _PLAIN = frozenset({"name", "client_name", "app"}), re.compile(r"[\w '’-]+")
"""Parts of an order that somebody chose, and such as cannot be taken for more of the sentence."""
_WORDS = {"role": words.role, "roles": words.role, "categories": breakglass_policy.kind}


def sentence(ctx: Context, act: Act, names: service.Names) -> str:
    """Return what an act does, as a sentence."""
    order: Mapping[str, Any] = {"tenant": None, "tenants": ()} | dict(act.order)
    texts = {name: _text(ctx, name, value, names) for name, value in order.items()}
    texts |= {name: _quoted(texts[name]) for name in _CHOSEN & texts.keys()}
    return SENTENCES[act.kind].format_map({**texts, "place": place(act.tenant, names)}) + "."


def compared(ctx: Context, act: Act, names: service.Names) -> list[tuple[str, str, str]]:
    """Return what an act changes: of what, before and after. What stays the same is left out where something is replaced."""
    old, new = dict(_flat(act.before)), dict(_flat(act.order))
    if old.get("credentials") != new.get("credentials"):
        new["credentials"] = "other ones" if new.get("credentials") else ""

    def text(values: Mapping[str, Any], name: str) -> str:
        return _text(ctx, name, values[name], names) if name in values else ""

    return [
        (_LABELS.get(name, words.field(name.removesuffix("_s"))), text(old, name), text(new, name))
        for name in {**new, **old}
        if old.get(name) != new.get(name)
    ]


def place(tenant: TenantId | None, names: service.Names) -> str:
    """Return where an act waits, by name: a hospital, a vendor or the platform."""
    return "the platform" if not tenant else names.vendor(names.tenant(tenant))


def names_of(ctx: Context, acts: list[Act], *people: str) -> service.Names:
    """Look up the names of everything that some acts are about."""
    texts = [str(value) for act in acts for value in (act.tenant, act.target, act.order, act.before)]
    at = [t for act in acts for t in (act.tenant, act.order.get("tenant"), *act.order.get("tenants", ()))]
    return service.names(ctx, [*people, *service.ids_in(texts)], tenants=[each for each in at if each])


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the parts of an order by name; those of a part with parts beside the others."""
    for name, value in values.items():
        if name in _HIDDEN:
            continue
        if isinstance(value, Mapping) and name != "has":
            yield from _flat(value)
        else:
            yield name, value


def _text(ctx: Context, name: str, value: Any, names: service.Names) -> str:
    """Return a value of an order in words."""
    match value:
        case None | "" | [] | ():
            return "every hospital" if name in {"tenant", "tenants"} else "none"
        case bool():
            return "yes" if value else "no"
        case Mapping():
            return ", ".join(
                f"{words.field(key).lower()} {_text(ctx, key, each, names)}" for key, each in value.items()
            )
        case list() | tuple():
            pairs = value and isinstance(value[0], list)
            return ", ".join(": ".join(each) if pairs else _text(ctx, name, each, names) for each in value)
        case int() if name.endswith("_s"):
            return _duration(value)
        case str() if name in {"tenant", "tenants"}:
            return place(TenantId(value), names)
        case str() if value.startswith("-----BEGIN"):
            return f"in PEM, SHA-256 {sha256(value.encode()).hexdigest()[:16]}"
        case str() if value.startswith("ver_"):
            return service.version_label(ctx, value)
        case str() if name.endswith(("_at", "until", "since")):
            return f"{datetime.fromisoformat(value):%-d %B %Y, %H:%M} UTC"
        case str() if name.endswith("_by"):
            return names.actor(value)
    text = str(value)
    return _WORDS.get(name, names.sentence)(
        text.replace("_", " ") if name in {"kind", "client_type"} else text
    )


def _quoted(text: str) -> str:
    """Return a name as it stands in a sentence: in quotation marks if it could end or go on with the sentence."""
    return text if _PLAIN.fullmatch(text) else "“" + re.sub("[“”]", "'", text) + "”"


def _duration(seconds: int) -> str:
    whole = timedelta(seconds=seconds)
    return str(whole) if whole.days == 0 or whole.seconds else f"{whole.days} days"
