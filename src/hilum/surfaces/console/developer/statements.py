"""What a vendor states and shows of an app: its texts, its logo, and what hospitals must know; a stale edit shows both sides."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.responses import Response

from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App, Profile, Subcontractor
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid
from hilum.foundation.pictures import live as pictures
from hilum.foundation.pictures.models import NO_PICTURE, Picture
from hilum.foundation.web.branding import app_logo
from hilum.foundation.web.forms import Form
from hilum.identity.people.models import VendorRight
from hilum.surfaces.console import fields
from hilum.surfaces.console.desk import Visit, address, to
from hilum.surfaces.console.developer import frame

TEXTS = ("name", "description", "purpose")
LABELS = {
    "owner": "Who answers for it",
    "support_contact": "Support address",
    "security_contact": "Security address",
    "security_escalation": "Whom to reach if security does not answer",
    "privacy_policy": "Privacy policy",
    "terms": "Terms of use",
    "stores_data": "Stores data",
    "retention": "What is kept, and how it is deleted",
    "retention_days": "Kept for days",
    "subcontractors": "Subcontractors",
    "hosting_regions": "Hosting regions",
    "purpose": "What the data is for",
}
_PLAIN = (
    "owner",
    "support_contact",
    "security_contact",
    "security_escalation",
    "privacy_policy",
    "terms",
    "retention",
)


async def show(visit: Visit) -> Response:
    """Show an app's statements, as forms for those who may change them."""
    return await _page(visit)


async def _page(
    visit: Visit, given: Form = fields.NO_FORM, wrong: Mapping[str, str] | None = None, *, detail: str = ""
) -> Response:
    app, app_status, profile, missing = await visit.read(lambda ctx: _read(ctx, visit))
    act = given.one("act")
    texts = {name: given.one(name) if act == "texts" else getattr(app, name) for name in TEXTS}
    stated = {name: given.one(name) for name in LABELS} if act == "profile" else _written(profile)
    stale = bool(detail)
    return frame.show(
        visit,
        "console/developer/statements.html",
        app,
        app_status,
        status=409 if stale else 422 if wrong else 200,
        texts=texts,
        stated=stated,
        now=_written(profile) if stale and act == "profile" else {},
        now_texts={name: getattr(app, name) for name in TEXTS} if stale and act == "texts" else {},
        labels=LABELS,
        detail=detail,
        of_logo=act in {"logo", "no_logo"},
        faults=fields.sentences(wrong or {}),
        missing=[LABELS.get(each, each.replace("_", " ")) for each in missing],
        profile=profile,
        logo=app_logo(visit.kit.urls, app.id, app.logo),
        edits=frame.may(visit, VendorRight.APPS),
        states=frame.may(visit, VendorRight.PROFILE),
        changes=address("developer.changes", kind="apps"),
    )


def _read(ctx: Context, visit: Visit) -> tuple[App, Any, Profile, tuple[str, ...]]:
    app = frame.own_app(ctx, visit.param())
    _, profile = registry.view_profile(ctx, app.id)
    return app, frame.app_status_of(ctx, app), profile, registry.missing_of(ctx, app)


def _written(profile: Profile) -> dict[str, str]:
    """Return a profile as the texts of its form."""
    stores = {True: "yes", False: "no", None: ""}[profile.stores_data]
    others = profile.subcontractors
    return {name: getattr(profile, name) for name in _PLAIN} | {
        "stores_data": stores,
        "retention_days": "" if profile.retention_days is None else str(profile.retention_days),
        "subcontractors": ""
        if others is None
        else "\n".join(f"{each.name} | {each.purpose} | {each.region}" for each in others) or "none",
        "hosting_regions": " ".join(profile.hosting_regions),
    }


async def act(visit: Visit, form: Form) -> Response:
    """Change the texts or the logo of an app, or what is stated about it."""
    try:
        match form.one("act"):
            case "texts":
                if await visit.write(partial(_edit, form=form, visit=visit, texts=_texts(form))):
                    return to(address("developer.changes", kind="apps"))
            case "logo" | "no_logo":
                picture = await _picture(form)
                if await visit.write(partial(_edit, form=form, visit=visit, texts={}, logo=picture)):
                    return to(address("developer.changes", kind="apps"))
            case "profile":
                await visit.write(partial(_save_profile, form=form, id_=visit.param()))
            case _:
                raise fields.no_such_act("Choose what to change.")
    except Invalid as error:
        return await _page(visit, form, error.fields or {"form": "invalid"})
    except Conflict as error:
        if error.code != "changed_since_read":
            raise
        return await _page(visit, form, detail=error.detail)
    return to(visit.path)


async def _picture(form: Form) -> Picture:
    """Return the logo that a form gives; none to remove it. Raises Invalid."""
    if form.one("act") == "no_logo":
        return NO_PICTURE
    return await pictures.read(fields.chosen(form, "logo"), "logo")


def _edit(
    ctx: Context, form: Form, visit: Visit, texts: Mapping[str, str], logo: Picture | None = None
) -> bool:
    """Edit the app; True if a reviewer decides."""
    app = frame.own_app(ctx, visit.param())
    _, waiting = visit.ports.app_edits.edit(ctx, app.id, form.one("revision"), texts, logo)
    return waiting is not None


def _texts(form: Form) -> dict[str, str]:
    texts = {name: form.one(name).strip() for name in TEXTS}
    return texts | {"name": " ".join(texts["name"].split())}


def _save_profile(ctx: Context, form: Form, id_: str) -> object:
    app = frame.own_app(ctx, id_)
    return registry.save_profile(ctx, app.id, _profile(form))


def _profile(form: Form) -> Profile:
    days, revision = form.one("retention_days").strip(), form.one("revision")
    wrong = {}
    if days and not (days.isdecimal() and len(days) <= 6):
        wrong["retention_days"] = "malformed"
    if not (revision.isdecimal() and len(revision) <= 9):
        wrong["revision"] = "malformed"
    others: list[Subcontractor] | None = None
    if text := form.one("subcontractors").strip():
        others = []
        for line in text.splitlines() if text.lower() != "none" else ():
            parts = [each.strip() for each in line.split("|")]
            if len(parts) != 3:
                wrong["subcontractors"] = "malformed"
                continue
            others.append(Subcontractor(*parts))
    if wrong:
        raise Invalid("profile_invalid", "What is stated is invalid; see fields.", fields=wrong)
    plain: dict[str, Any] = {name: form.one(name).strip() for name in _PLAIN}
    return replace(
        Profile(**plain),
        stores_data={"yes": True, "no": False}.get(form.one("stores_data")),
        retention_days=int(days) if days else None,
        subcontractors=None if others is None else tuple(others),
        hosting_regions=tuple(form.one("hosting_regions").split()),
        revision=int(revision),
    )
