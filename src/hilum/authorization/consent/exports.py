"""Versions of people's agreements, and their export as FHIR Consent resources."""

from collections.abc import Iterable
from dataclasses import replace

from hilum.apps.registry import service as registry
from hilum.authorization.consent import policy, store
from hilum.authorization.consent.fhir import Exported
from hilum.authorization.consent.models import AgreementVersion, Authorization, Basis, Change
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, NotFound
from hilum.foundation.kernel.ids import AuthorizationId, PersonId, TenantId
from hilum.foundation.kernel.pages import PageQuery
from hilum.identity.people import service as identity
from hilum.records.audit import service as audit
from hilum.records.audit.models import Event

OWN_BOUND = 5_000
"""The most agreements in a person's own download."""


def record_version(
    ctx: Context, agreement: Authorization, change: Change, scopes: tuple[str, ...] = ()
) -> None:
    """Record a version of a person's agreement: ``agreement`` as it was before the change, or new. A tenant's own agreements have no versions.

    Call it after the agreement's row was written, whose lock orders two concurrent changes.
    """
    if agreement.basis is not Basis.PERSON:
        return
    if change is Change.RECORDED:
        store.VERSIONS.add(ctx.tx, _first(agreement))
        return
    last = store.last_version(ctx.tx, agreement.id)
    if last == 0:
        # From a release without versions: its present state is the first version.
        store.VERSIONS.add(ctx.tx, _first(agreement))
        last = 1
    version = AgreementVersion(agreement.id, last + 1, ctx.now, change, scopes, str(ctx.actor))
    store.VERSIONS.add(ctx.tx, version)


def _first(agreement: Authorization) -> AgreementVersion:
    by = f"person:{agreement.person}"
    return AgreementVersion(agreement.id, 1, agreement.created_at, Change.RECORDED, agreement.scopes, by)


def versions_of(ctx: Context, agreement: Authorization) -> tuple[AgreementVersion, ...]:
    """Return the versions of a person's agreement, oldest first."""
    return tuple(store.list_versions(ctx.tx, agreement.id)) or (_first(agreement),)


def export(
    ctx: Context, tenant: TenantId, page: PageQuery, *, base: str, person: PersonId | None = None
) -> list[Exported]:
    """Export a page of the agreements of a hospital's patients and proxies, or of one ``person``, by person and id. Raises NotPermitted.

    The page's ``after`` is both, joined by ``~``. For the hospital's administrator, and for people about themselves. The read is recorded.
    """
    event = Event("consent.authorization.export", tenant=tenant, person=person or "")
    if not policy.may_export(ctx.actor, tenant, person):
        raise audit.refusal(ctx, event)
    agreed = store.list_agreed(ctx.tx, tenant, person, page)
    exported = list(_exported(ctx, agreed, base))
    audit.record(ctx, replace(event, facts={"given": len(exported)}))
    return exported


def export_own(ctx: Context, tenant: TenantId, person: PersonId, *, base: str) -> list[Exported]:
    """Export all agreements of a person for themselves. Raises NotPermitted, Conflict (more than OWN_BOUND)."""
    exported: list[Exported] = []
    page = PageQuery()
    while more := export(ctx, tenant, page, base=base, person=person):
        exported += more
        last = more[-1].agreement
        page = PageQuery(f"{last.person}~{last.id}")
        if len(more) < page.limit:
            break
        # Refused rather than cut off: nobody would notice that something is missing.
        if len(exported) >= OWN_BOUND:
            raise Conflict(
                "export_too_large",
                "These are too many agreements for one file. Read them in pages through the API.",
            )
    return exported


def export_one(ctx: Context, authorization: AuthorizationId, *, base: str) -> Exported:
    """Export one agreement with its history. Raises NotFound, also for one that the actor may not see."""
    stored = store.AUTHORIZATIONS.find(ctx.tx, id=authorization)
    if (
        stored is None
        or stored.basis is not Basis.PERSON
        or not policy.may_export(ctx.actor, stored.tenant, stored.person)
    ):
        raise NotFound("authorization_unknown", "There is no such authorization.")
    (exported,) = _exported(ctx, [stored], base)
    event = Event("consent.authorization.export", tenant=stored.tenant, app=stored.app, person=stored.person)
    audit.record(ctx, replace(event, authorization=stored.id, patient=stored.patient, facts={"given": 1}))
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
        # A dynamically registered app of a sandbox, which is deleted after a day.
        return each.app, "an unknown vendor"
    return app.name, registry.get_vendor(ctx, app.vendor).name
