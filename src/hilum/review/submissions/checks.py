"""The automated checks: conclusions from the submission, the fetched addresses and the policy (C99). Pure.

The same inputs under the same version of the policy give the same checks, tier and route, whenever and wherever they are judged (C110).
"""

import hashlib
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import urljoin, urlsplit

import orjson

from hilum.apps.registry.models import Environment
from hilum.foundation.kernel.ids import VersionId
from hilum.foundation.standards.keysets import jwks_fault
from hilum.policy.matrix.models import (
    Applicant,
    Autonomy,
    Book,
    Discipline,
    PolicyEntry,
    Population,
    Raise,
    Tier,
)
from hilum.policy.matrix.policy import excess_scopes, tiers_to_certify, waived
from hilum.review.certification_runs.models import RESULT_LIFE, RunSummary
from hilum.review.submissions.attached import dated, document_of, evidence_ends, sandbox_run, shared_run
from hilum.review.submissions.models import (
    MADE_HERE,
    RUN_LIFE,
    SHARED_SANDBOX,
    Check,
    Judgement,
    Kind,
    Look,
    Result,
    Route,
    Run,
    Target,
)
from hilum.review.submissions.policy import digest_of

Content = Mapping[str, Any]
TRACKS: Mapping[Tier, str] = MappingProxyType(
    {Tier.LOW: "fast", Tier.MODERATE: "standard", Tier.HIGH: "enhanced"}
)
PARTS = ("app", "vendor", "version", "profile", "clients")
"""Parts of the description from records that can change later."""
_GONE = frozenset({404, 410})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REFUSED = frozenset({"address_refused", "redirect_refused", "fetch_too_large"})
"""Faults of a fetch that are certain; any other may be ours, or temporary."""
_AFTER_TLS = frozenset({"redirect_refused", "fetch_too_large"})
_OF_ADDRESSES = ("address.", "document.", "keys.")
_CALLED = frozenset({Kind.REDIRECT, Kind.LAUNCH})
_READ = frozenset({Kind.PRIVACY, Kind.TERMS, Kind.DOCUMENT, Kind.MODEL_CARD})


@dataclass(frozen=True, slots=True)
class Inputs:
    """The inputs of checks beside the submission, as of one moment.

    ``records``: the digest of each part of the description as the records are then. ``recorded``: the digest of what was submitted that the
    audit has; empty if it has none. ``unproved``: contacts and domain that were not proved. ``raised``: to which tier a reviewer
    had raised the version, and why. ``run``: the version's last certification run in the sandbox. ``waived``: the requirements of the
    policy's entries that were waived for the app (C207). ``unasked``: scenarios that the version need not show, since it lacks
    what they are about.
    """

    at: datetime
    looks: tuple[Look, ...]
    records: Mapping[str, str]
    recorded: str
    unproved: tuple[str, ...]
    raised: tuple[Tier, str] | None = None
    run: RunSummary | None = None
    waived: tuple[str, ...] = ()
    unasked: tuple[str, ...] = ()


def targets_of(content: Content) -> list[Target]:
    """List the addresses of a submission to fetch, each once, in a fixed order.

    A native app's addresses point to its own device, so they cannot be fetched.
    """
    found: list[Target] = []
    for client in content["clients"]:
        if client["deployment"] != "native":
            found += [Target(Kind.REDIRECT, url) for url in client["redirect_uris"]]
            found.append(Target(Kind.LAUNCH, client["launch_uri"]))
        found.append(Target(Kind.KEYS, client["jwks_uri"]))
    profile, ai_use = content["profile"], content["version"]["ai_use"]
    found += [Target(Kind.PRIVACY, profile["privacy_policy"]), Target(Kind.TERMS, profile["terms"])]
    found += [Target(Kind.DOCUMENT, each["url"]) for each in content["documents"]]
    if ai_use is not None:
        found.append(Target(Kind.MODEL_CARD, ai_use["model_card"]))
    return [each for each in dict.fromkeys(found) if each.url]


def fingerprints(jwks: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return id and digest of each key of a valid set."""
    return tuple(
        (
            f"{key['kid']}/{key.get('kty')}",
            hashlib.sha256(orjson.dumps(key, option=orjson.OPT_SORT_KEYS)).hexdigest(),
        )
        for key in jwks["keys"]
    )


# --- judging -------------------------------------------------------------------------------------------------------------------


def judge(text: str, digest: str, inputs: Inputs, earlier: Inputs | None, book: Book) -> Judgement:
    """Judge a submission (canonical ``text`` with its ``digest``) by the addresses fetched now and in an ``earlier`` run."""
    content: Content = orjson.loads(text)
    looks = {Target(each.kind, each.url): each for each in inputs.looks}
    before = {Target(each.kind, each.url): each for each in earlier.looks} if earlier else {}
    applicant = applicant_in(content)
    book = _with_exceptions(book, content, inputs)
    checks = [_as_submitted(text, digest, inputs), *_records(content, inputs)]
    for target in targets_of(content):
        look = looks.get(target)
        checks += _address(content, target, look)
        if target.kind is Kind.KEYS:
            checks += _keys(target, look, before.get(target))
    checks = [_in_environment(content, check) for check in checks]
    checks += [each for client in content["clients"] for each in _inline_keys(client)]
    checks += [_scopes(content, book), _tier(book, applicant)]
    checks += evidence_of(content, inputs, book, applicant)
    return Judgement(tuple(checks), _route_of(book, applicant))


def _with_exceptions(book: Book, content: Content, inputs: Inputs) -> Book:
    """Return a policy with the exceptions for the submission."""
    raised = {} if inputs.raised is None else {VersionId(content["version"]["id"]): Raise(*inputs.raised)}
    return waived(replace(book, raised=raised), inputs.waived)


def is_same_result(one: Judgement, other: Judgement) -> bool:
    """Check whether two judgements agree: the same rules about the same things with the same results, and the same route.

    Sentences are for people. A release may word them differently; those that were shown stay stored.
    """
    return one.route == other.route and _conclusions(one) == _conclusions(other)


def _conclusions(of: Judgement) -> list[tuple[str, str, Result]]:
    return [(each.rule, each.about, each.result) for each in of.checks]


def applicant_in(content: Content) -> Applicant:
    """Return the policy's inputs for a submission."""
    version = content["version"]
    ai_use = version["ai_use"]
    return Applicant(
        content["app"]["category"],
        tuple(each["scope"] for each in content["scopes"]),
        None,
        tuple(version["workflows"]),
        tuple(version["placements"]),
        certified_tier=None,
        version=VersionId(version["id"]),
        autonomy=None if ai_use is None else Autonomy(ai_use["autonomy"]),
        population=Population(version["population"]) if "population" in version else None,
    )


def route_under(book: Book, content: Content, inputs: Inputs) -> Route:
    """Return the route of a submission under a book."""
    return _route_of(_with_exceptions(book, content, inputs), applicant_in(content))


def _route_of(book: Book, applicant: Applicant) -> Route:
    """Return the tier, track, disciplines and clocks of a submission: the strictest over all ways to authenticate."""
    found = tiers_to_certify(book, applicant)
    if not found:
        return Route()
    entries = book.categories[applicant.category].entries
    tier = max((each.tier for each in found.values()), key=lambda each: each.rank)
    of = [entries[each.tier] for each in found.values()]
    needed = {discipline for entry in of for discipline in entry.disciplines}
    return Route(
        tier,
        TRACKS[tier],
        tuple(discipline for discipline in Discipline if discipline in needed),
        min(entry.review.first_answer_business_days for entry in of),
        min(entry.review.decision_business_days for entry in of),
        tier is Tier.LOW and all(entry.review.automatic for entry in of),
    )


def _as_submitted(text: str, digest: str, inputs: Inputs) -> Check:
    found = digest_of(text)
    check = Check(
        "content.as_submitted",
        "",
        Result.PASSED,
        f"The stored submission has the digest {found}, as recorded.",
        "hilum audit events --action review.submission.submit",
        "Withdraw the submission, and submit it again; inform the platform's security officers.",
    )
    if found != digest or (inputs.recorded and inputs.recorded != found):
        recorded = inputs.recorded or digest
        return check.but(
            Result.FAILED, f"The stored submission has the digest {found}; {recorded} was recorded."
        )
    if not inputs.recorded:
        return check.but(Result.UNKNOWN, "The audit has no record of what was submitted.")
    return check


def _records(content: Content, inputs: Inputs) -> Iterable[Check]:
    for part in PARTS:
        check = Check(
            "records.unchanged",
            part,
            Result.PASSED,
            "The record is as it was submitted.",
            "hilum review show SUBMISSION --json",
            "Take the edit back, or withdraw the submission and submit it as it is now.",
        )
        found = inputs.records.get(part, "")
        if not found:
            yield check.but(Result.UNKNOWN, "The record was not read.")
        elif found != part_digest(content[part]):
            yield check.but(Result.FAILED, "The record was edited since it was submitted.")
        else:
            yield check


def part_digest(part: object) -> str:
    """Return the digest of one part of a description."""
    return hashlib.sha256(orjson.dumps(part, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _in_environment(content: Content, check: Check) -> Check:
    """Return the check of an address as the environment requires it: what only the internet could answer is not judged in a sandbox."""
    sandbox = content["environment"] == Environment.SANDBOX.value
    if not sandbox or check.result is not Result.UNKNOWN or not check.rule.startswith(_OF_ADDRESSES):
        return check
    said = f"{check.evidence} It is not judged in a sandbox; for production it must answer from the internet."
    return check.but(Result.NOT_REQUIRED, said)


# --- addresses -----------------------------------------------------------------------------------------------------------------


def _address(content: Content, target: Target, look: Look | None) -> Iterable[Check]:
    yield _answers(target, look)
    yield _tls(content, target, look)
    if target.kind in _CALLED:
        yield _stays(content, target, look)
    if target.kind in {Kind.DOCUMENT, Kind.MODEL_CARD}:
        yield _as_declared(content, target, look)


def _curl(target: Target) -> str:
    return f"curl -sS -o /dev/null -D - {shlex.quote(target.url)}"


def _answers(target: Target, look: Look | None) -> Check:
    check = Check(
        "address.answers",
        f"{target.kind}: {target.url}",
        Result.PASSED,
        "",
        _curl(target),
        "Make the address answer from the internet, within ten seconds, and without an error.",
    )
    if look is None:
        return check.but(Result.UNKNOWN, "It was not checked: the submission has too many addresses.")
    if look.fault:
        result = Result.FAILED if look.fault in _REFUSED else Result.UNKNOWN
        return check.but(result, f"{look.detail} ({look.fault})")
    if target.kind in _CALLED:
        wrong = look.status in _GONE or look.status >= 500
    else:
        # Documents and key sets must be readable without a sign-in.
        wrong = look.status != 200 or not look.size
    said = f"It answered {look.status} with {look.size} bytes, SHA-256 {look.sha256}."
    return check.but(Result.FAILED if wrong else Result.PASSED, said)


def _tls(content: Content, target: Target, look: Look | None) -> Check:
    check = Check(
        "address.tls",
        f"{target.kind}: {target.url}",
        Result.PASSED,
        "Its certificate is valid.",
        f"curl -sSv -o /dev/null {shlex.quote(target.url)}",
        "Serve the address over https with a certificate that is valid and that browsers trust.",
    )
    if urlsplit(target.url).scheme != "https":
        sandbox = content["environment"] == Environment.SANDBOX.value
        return check.but(Result.NOT_REQUIRED if sandbox else Result.FAILED, "It is served without TLS.")
    if look is not None and look.tls_fault:
        return check.but(Result.FAILED, f"Its certificate is not trusted: {look.tls_fault}.")
    if look is None or (look.fault and look.fault not in _AFTER_TLS):
        return check.but(Result.UNKNOWN, "No connection was made, so its certificate was not seen.")
    return check


def _stays(content: Content, target: Target, look: Look | None) -> Check:
    check = Check(
        "address.stays",
        f"{target.kind}: {target.url}",
        Result.PASSED,
        "It does not send browsers elsewhere.",
        _curl(target),
        "Register the address where the app is, or let this one answer itself.",
    )
    if look is None or look.fault:
        return check.but(Result.UNKNOWN, "It did not answer.")
    if look.status not in _REDIRECTS:
        return check
    if goes_to(target.url, look.location) in _own_origins(content):
        return check.but(Result.PASSED, f"It sends browsers to {look.location}, which the app registered.")
    return check.but(
        Result.FAILED,
        f"It sends browsers to {look.location or 'nowhere'}, an origin that the app has not registered.",
    )


def goes_to(url: str, location: str) -> str:
    """Return the origin to which an address redirects a browser; empty if it cannot be parsed."""
    # Browsers read a backslash as a slash and drop blanks, so they may go elsewhere than this parser says.
    if not location or "\\" in location or any(each.isspace() for each in location):
        return ""
    try:
        return _origin(urljoin(url, location))
    except ValueError:
        return ""


def _own_origins(content: Content) -> set[str]:
    return {
        _origin(url)
        for client in content["clients"]
        for url in (*client["redirect_uris"], client["launch_uri"], *client["origins"])
    } - {""}


def _origin(url: str) -> str:
    """Return the origin of an absolute web address; empty for any other."""
    try:
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme, 0)
    except ValueError:
        return ""
    return f"{parts.scheme}://{parts.hostname}:{port}" if parts.hostname and port else ""


def _as_declared(content: Content, target: Target, look: Look | None) -> Check:
    check = Check(
        "document.as_declared",
        f"{target.kind}: {target.url}",
        Result.PASSED,
        "It is the document that was declared.",
        f"curl -sS {shlex.quote(target.url)} | sha256sum",
        "Put the document that you declared back, or submit again with the digest of the one that is there.",
    )
    ai_use = content["version"]["ai_use"]
    declared = {(Kind.DOCUMENT, each["url"]): each["sha256"] for each in content["documents"]}
    if ai_use is not None:
        declared[Kind.MODEL_CARD, ai_use["model_card"]] = ai_use["model_card_digest"]
    if look is None or look.fault or look.status != 200:
        return check.but(Result.UNKNOWN, "It could not be read.")
    said = f"It has the SHA-256 {look.sha256}; {declared[target.kind, target.url]} was declared."
    same = look.sha256 == declared[target.kind, target.url]
    return check.but(Result.PASSED if same else Result.FAILED, said)


# --- keys ----------------------------------------------------------------------------------------------------------------------


def _keys(target: Target, look: Look | None, before: Look | None) -> Iterable[Check]:
    about = f"{target.kind}: {target.url}"
    read = f"curl -sS {shlex.quote(target.url)}"
    usable = Check(
        "keys.usable",
        about,
        Result.PASSED,
        "",
        read,
        "Publish a JSON Web Key Set with a public key for RS384 or ES384 that has a kid.",
    )
    kept = Check(
        "keys.kept",
        about,
        Result.PASSED,
        "No key changed under its id.",
        read,
        "Give a new key a new kid; one that is replaced under its id looks like an attack.",
    )
    if look is None or look.fault or look.status != 200:
        yield usable.but(Result.UNKNOWN, "The keys could not be read.")
        yield kept.but(Result.UNKNOWN, "The keys could not be read.")
        return
    listed = ", ".join(kid for kid, _ in look.keys)
    if look.keys_fault:
        yield usable.but(Result.FAILED, f"The key set cannot be used: {look.keys_fault}.")
    else:
        yield usable.but(Result.PASSED, f"The set has the keys {listed}.")
    # Rotation gives a new key a new kid. A key that replaced another under its kid may be somebody else's.
    old, new = dict(before.keys) if before else {}, dict(look.keys)
    changed = [kid for kid in old if kid in new and old[kid] != new[kid]]
    if changed:
        yield kept.but(Result.FAILED, f"Another key now has the id {', '.join(changed)}.")
    elif old and old.keys() != new.keys():
        yield kept.but(
            Result.PASSED, f"The keys were rotated: {', '.join(old)} before, {listed or 'none'} now."
        )
    else:
        yield kept


def _inline_keys(client: Mapping[str, Any]) -> Iterable[Check]:
    if client["jwks"] is None:
        return
    fault = jwks_fault(client["jwks"])
    yield Check(
        "keys.usable",
        f"client: {client['id']}",
        Result.FAILED if fault else Result.PASSED,
        f"The registered keys are not usable: {fault}." if fault else "The registered keys are usable.",
        "hilum client show CLIENT --json",
        "Register a public key for RS384 or ES384 that has a kid.",
    )


# --- scopes, tier and evidence -------------------------------------------------------------------------------------------------


def _scopes(content: Content, book: Book) -> Check:
    asked = tuple(each["scope"] for each in content["scopes"])
    beyond = excess_scopes(book, tuple(content["version"]["workflows"]), asked)
    bare = [each["scope"] for each in content["scopes"] if not each["justification"].strip()]
    check = Check(
        "scopes.justified",
        "",
        Result.PASSED,
        "No scope is beyond the declared workflows.",
        "hilum app rules APP",
        "Ask for less, declare the workflow in a new version, or say what the app does with the scope.",
    )
    if bare:
        return check.but(Result.FAILED, f"These scopes have no justification: {', '.join(bare)}.")
    said = (
        [f"Beyond the declared workflows, each with its justification: {', '.join(beyond)}."]
        if beyond
        else []
    )
    if defended := [each["scope"] for each in content["scopes"] if each.get("defence")]:
        said.append(f"Unused for long, and defended by the vendor: {', '.join(defended)}.")
    return check.but(Result.PASSED, " ".join(said)) if said else check


def _tier(book: Book, applicant: Applicant) -> Check:
    found = tiers_to_certify(book, applicant)
    check = Check(
        "tier.allowed",
        "",
        Result.PASSED,
        "",
        "hilum app tier VERSION",
        "Ask for scopes of a tier that the category allows, or have the app moved to another category.",
    )
    if not found:
        return check.but(Result.FAILED, "The policy allows the category no tier for these scopes.")
    worst = max(found.values(), key=lambda each: each.tier.rank)
    return check.but(Result.PASSED, str(worst))


def evidence_of(content: Content, inputs: Inputs, book: Book, applicant: Applicant) -> Iterable[Check]:
    """Judge the documents, runs and proofs that the policy's entries require."""
    entries = book.categories[applicant.category].entries if applicant.category in book.categories else {}
    # A version has a tier for each way in which its clients may authenticate: it meets the entries of all of them.
    of = [entries[each.tier] for each in tiers_to_certify(book, applicant).values()]
    needed = sorted({kind for entry in of for kind in entry.evidence} - {"automated_checks"})
    proofs = sorted({proof for entry in of for proof in entry.proofs})
    yield from _waived(of)
    attached = {each["kind"]: document_of(each) for each in content["documents"]}
    production = content["environment"] == Environment.PRODUCTION.value
    show = "hilum app rules APP"
    for kind in needed:
        check = Check("evidence.attached", kind, Result.PASSED, "", show, "Submit again with this document.")
        if not production:
            yield check.but(Result.NOT_REQUIRED, "A sandbox needs no evidence.")
        elif kind == SHARED_SANDBOX:
            yield shared_run(check, inputs.run)
        elif kind in MADE_HERE:
            needed_now = {name for entry in of for name in entry.scenarios}.difference(inputs.unasked)
            people = any("authorization_code" in each["grant_types"] for each in content["clients"])
            yield sandbox_run(check, inputs.run, needed_now, at=inputs.at, people=people)
        elif kind not in attached:
            yield check.but(Result.FAILED, "The document is not attached.")
        else:
            yield dated(check, attached[kind], inputs.at)
    for proof in proofs:
        domain = proof == "domain"
        check = Check(
            "contacts.proved",
            proof,
            Result.PASSED,
            "It is proved.",
            "hilum vendor domain list VENDOR" if domain else "hilum contact list",
            "Serve the line of a domain of the vendor, and have it looked at: `hilum vendor domain check`."
            if domain
            else "Have a link mailed to a contact of this kind, the address that the app states if it states one, and open it: `hilum contact add`, or `hilum contact link`.",
        )
        if not production:
            yield check.but(Result.NOT_REQUIRED, "A sandbox needs no proofs.")
        elif proof in inputs.unproved:
            yield check.but(
                Result.FAILED, "It is not proved, or its proof has lapsed, or the app states another address."
            )
        else:
            yield check


def _waived(entries: Iterable[PolicyEntry]) -> Iterable[Check]:
    """List the entries' requirements that are waived for the app: they do not block (C207)."""
    of = list(entries)
    for name in sorted({name for entry in of for name in entry.waived}):
        kind, _, what = name.partition(".")
        if any(what in getattr(entry, kind) for entry in of):
            continue
        said = "It is waived for this app until a day; something else is done instead."
        show = "hilum policy exceptions"
        yield Check("requirements.waived", name, Result.NOT_REQUIRED, said, show, "Nothing needs to be done.")


def blocking(checks: Iterable[Check]) -> list[Check]:
    """Return the checks that block certification."""
    return [each for each in checks if each.blocks]


def in_words(checks: Iterable[Check]) -> str:
    """Return how many checks had which result."""
    of: Callable[[Result], int] = [each.result for each in checks].count
    return ", ".join(f"{of(result)} {result.value.replace('_', ' ')}" for result in Result)


@dataclass(frozen=True, slots=True)
class Readiness:
    """What decides whether a submission can be certified now.

    ``run``: the last of its checks. ``replays``: it comes to the same result from what was stored. ``records``: the digests of the parts
    as the records are now. ``policy_version``: the version in force. ``is_owner``: the app is still its vendor's. ``as_submitted``: what is stored
    is what the audit recorded. ``evidence_at``: when the sandbox run was made that the checks passed by; None if none was needed.
    """

    run: Run | None
    replays: bool
    records: Mapping[str, str]
    policy_version: int
    is_owner: bool
    as_submitted: bool
    evidence_at: datetime | None = None


def obstacle(ready: Readiness, text: str, *, now: datetime) -> str:
    """Return why a submission (canonical ``text``) cannot be certified now; empty if it can. Unknown means that it cannot."""
    run = ready.run
    if not ready.is_owner:
        return "app_changed_hands"
    if not ready.as_submitted:
        return "not_as_submitted"
    if run is None:
        return "checks_missing"
    if blocking(run.judgement.checks) or not run.judgement.checks or run.judgement.route.tier is None:
        return "checks_not_passed"
    if not ready.replays:
        return "checks_not_as_stored"
    if now >= run.at + RUN_LIFE:
        return "checks_old"
    if ready.policy_version != run.policy_version:
        return "policy_changed"
    if ready.evidence_at is not None and now >= ready.evidence_at + RESULT_LIFE:
        return "evidence_old"
    content: Content = orjson.loads(text)
    ends = evidence_ends(content, run.judgement, None)
    if ends is not None and now >= ends:
        return "evidence_expired"
    if any(ready.records.get(part) != part_digest(content[part]) for part in PARTS):
        return "records_changed"
    return ""
