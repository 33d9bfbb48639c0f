"""Versions of people's agreements, and their export as FHIR Consent resources."""

from collections.abc import Iterable
from dataclasses import replace

from hilum.audit import service as audit
from hilum.audit.models import Event
from hilum.consent import policy, store
from hilum.consent.fhir import Exported
from hilum.consent.models import AgreementVersion, Authorization, Basis, Change
from hilum.identity import service as identity
from hilum.infra.context import Context
from hilum.kernel.errors import Conflict, NotFound
from hilum.kernel.ids import AuthorizationId, PersonId, TenantId
from hilum.kernel.pages import PageQuery
from hilum.registry import service as registry

OWN_BOUND = 5_000
"""Agreements in a person's own download."""


def keep_version(ctx: Context, found: Authorization, change: Change, scopes: tuple[str, ...] = ()) -> None:
    """Record a version of a person's agreement; ``found`` is what it was before, or the new one. A hospital's own agreements have none.

    Called after the agreement's row was written, which orders two changes at one moment.
    """
    if found.basis is not Basis.PERSON:
        return
    if change is Change.RECORDED:
        store.add_version(ctx.tx, _first(found))
        return
    last = store.last_version(ctx.tx, found.id)
    if last == 0:
        # Agreed to before versions were kept: what it was until now is its first one.
        store.add_version(ctx.tx, _first(found))
        last = 1
    store.add_version(ctx.tx, AgreementVersion(found.id, last + 1, ctx.now, change, scopes, str(ctx.actor)))


def _first(found: Authorization) -> AgreementVersion:
    by = f"person:{found.person}"
    return AgreementVersion(found.id, 1, found.created_at, Change.RECORDED, found.scopes, by)


def versions_of(ctx: Context, found: Authorization) -> tuple[AgreementVersion, ...]:
    """Return the versions of a person's agreement, the first one first."""
    return tuple(store.list_versions(ctx.tx, found.id)) or (_first(found),)


def export(
    ctx: Context, tenant: TenantId, page: PageQuery, *, base: str, person: PersonId | None = None
) -> list[Exported]:
    """Export a page of the agreements of a hospital's patients and proxies, or of one of them, by person and id; ``after`` is the ``cursor`` of the last one. Raises NotPermitted.

    For the hospital's administrator, and for people about themselves. Who read whose is recorded.
    """
    event = Event("consent.authorization.export", tenant=tenant, person=person or "")
    if not policy.may_export(ctx.actor, tenant, person):
        raise audit.refusal(ctx, event)
    found = store.list_agreed(ctx.tx, tenant, person, page)
    exported = list(_exported(ctx, found, base))
    audit.record(ctx, replace(event, facts={"given": len(exported)}))
    return exported


def export_own(ctx: Context, tenant: TenantId, person: PersonId, *, base: str) -> list[Exported]:
    """Export all that a person agreed to, for themselves. Raises NotPermitted, Conflict (more than one file holds)."""
    found: list[Exported] = []
    page = PageQuery()
    while more := export(ctx, tenant, page, base=base, person=person):
        found += more
        last = more[-1].agreement
        page = PageQuery(f"{last.person}~{last.id}")
        if len(more) < page.limit:
            break
        # What does not fit is refused and not cut off: nobody would see that something is missing.
        if len(found) >= OWN_BOUND:
            raise Conflict(
                "export_too_large",
                "These are too many agreements for one file. Read them in pages by the API.",
            )
    return found


def export_one(ctx: Context, authorization: AuthorizationId, *, base: str) -> Exported:
    """Export one agreement with its history. Raises NotFound, also for one that the actor may not see."""
    found = store.find(ctx.tx, authorization)
    if (
        found is None
        or found.basis is not Basis.PERSON
        or not policy.may_export(ctx.actor, found.tenant, found.person)
    ):
        raise NotFound("authorization_unknown", "There is no such authorization.")
    (exported,) = _exported(ctx, [found], base)
    event = Event("consent.authorization.export", tenant=found.tenant, app=found.app, person=found.person)
    audit.record(ctx, replace(event, authorization=found.id, patient=found.patient, facts={"given": 1}))
    return exported


def _exported(ctx: Context, found: Iterable[Authorization], base: str) -> Iterable[Exported]:
    names: dict[str, tuple[str, str]] = {}
    for each in found:
        if each.app not in names:
            names[each.app] = _names(ctx, each)
        app, vendor = names[each.app]
        person = identity.find_person(ctx, each.person)
        fhir_user = "" if person is None else person.fhir_user
        tenant = identity.find_tenant(ctx, each.tenant)
        yield Exported(
            agreement=each,
            versions=versions_of(ctx, each),
            base=base,
            app=app,
            vendor=vendor,
            hospital=each.tenant if tenant is None else tenant.name,
            person=fhir_user,
            proxy=bool(each.patient) and fhir_user not in {"", f"Patient/{each.patient}"},
        )


def _names(ctx: Context, each: Authorization) -> tuple[str, str]:
    try:
        app = registry.get_app(ctx, each.app)
    except NotFound:
        # A sandbox's dynamic app, which is deleted after a day.
        return each.app, "an unknown vendor"
    return app.name, registry.get_vendor(ctx, app.vendor).name
