"""Verification of every stored version and application, and of the audit trail's records of them; for the host's commands."""

from collections.abc import Iterator

from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import HilumError
from hilum.policy.matrix import chain, loading, store
from hilum.policy.matrix.models import Application, Book, Recorded, Verified, Version
from hilum.policy.matrix.products import custom_finding, product_faults
from hilum.policy.matrix.soundness import pack_faults, soundness_faults
from hilum.records.keys import service as keys
from hilum.records.keys.models import Purpose

SHOWN_BOUND = 20
"""How many faults are listed."""


def verify(ctx: Context) -> Verified:
    """Verify all versions and applications against their signatures, each other and the audit trail.

    What two people replaced after it was damaged is evidence, and no longer a fault: applications are verified from the one that begins
    the last chain.
    """
    # Read before the applications, as ``loading.applied`` does.
    trail = list(loading.all_recorded_applications(ctx))
    found = loading.applied(ctx)
    versions = {each.number: each for each in store.read_versions(ctx.tx)}
    applications = _last_chain(list(store.read_applications(ctx.tx)))
    in_force = sorted({found.current.everywhere, *found.current.at.values()} & set(versions))
    faults = [
        *([found.fault] if found.fault else []),
        *_application_faults(ctx, applications),
        *_trail_faults(trail, applications),
        *(fault for each in versions.values() if (fault := loading.version_fault(ctx, each))),
        *_applied_faults(applications, versions),
    ]
    warnings: list[str] = []
    for number in in_force:
        try:
            book = loading.book_in_force(ctx, number, found)
        except HilumError as error:
            faults.append(error.detail)
        else:
            warnings += _warnings(ctx, versions[number], book)
    everywhere = versions.get(found.current.everywhere)
    return Verified(
        everywhere=found.current.everywhere,
        digest="" if everywhere is None else everywhere.digest,
        last=found.current.last,
        head=found.head,
        faults=_first(faults),
        warnings=_first(warnings),
    )


def _first(sentences: list[str]) -> tuple[str, ...]:
    """Return the first sentences, each once."""
    return tuple(dict.fromkeys(sentences))[:SHOWN_BOUND]


def _last_chain(applications: list[Application]) -> list[Application]:
    begins = [n for n, each in enumerate(applications) if each.previous == chain.BEGINS]
    return applications[begins[-1] :] if begins else applications


def _application_faults(ctx: Context, applications: list[Application]) -> Iterator[str]:
    for each in applications:
        if not keys.verify_bytes(
            ctx, Purpose.POLICY, each.kid, chain.application_bytes(each), each.signature
        ):
            yield f"Application {each.number} of the policy does not match what was signed."
    if applications and applications[0].previous != chain.BEGINS:
        yield f"The applications of the policy before number {applications[0].number} are missing."
    if fault := chain.links_fault(applications):
        yield fault


def _trail_faults(trail: list[Recorded], applications: list[Application]) -> Iterator[str]:
    """Compare each application with its record. Records from before the chain, and those that were purged, are left out."""
    heads = {each.number: chain.application_digest(each) for each in applications}
    first = min(heads, default=1)
    for record in trail:
        if record.number < first or heads.get(record.number) == record.head:
            continue
        stored = "missing" if record.number not in heads else "not the one in the audit trail"
        yield f"Application {record.number} of the policy is {stored}."


def _applied_faults(applications: list[Application], versions: dict[int, Version]) -> Iterator[str]:
    for each in applications:
        version = versions.get(each.version)
        if version is None:
            yield f"Version {each.version} of the policy, which application {each.number} put in force, is missing."
        elif version.digest != each.digest:
            yield f"Version {each.version} of the policy is not the one that application {each.number} put in force."


def _warnings(ctx: Context, version: Version, book: Book) -> Iterator[str]:
    _, faults = loading.parse(version)
    products = product_faults(book)
    for fault in (*faults, *soundness_faults(book), *products, *pack_faults(book, ctx.now.date())):
        yield f"version {version.number} would be refused today: {fault.path}: {fault.sentence}"
    if finding := custom_finding(book):
        yield f"version {version.number}: {finding}"
