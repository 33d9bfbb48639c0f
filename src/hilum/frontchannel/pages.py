"""What the flow's pages show: the picker, consent and first-use notice, the connected apps, and what went wrong."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from hilum.consent import policy as consent_policy
from hilum.consent.models import AUTHORIZATION_LIFE, Choice, PlainPermission
from hilum.frontchannel.flow import Stage
from hilum.frontchannel.models import LOOK_RETRY_AFTER_S, Step
from hilum.frontchannel.picker import EncounterChoice, PatientChoice, PatientPage
from hilum.frontchannel.policy import DisplayedError, offline_of
from hilum.frontchannel.service import ConnectedApp, ConnectedApps, by_of
from hilum.identity import policy as identity_policy
from hilum.identity.models import Person, Role, Tenant
from hilum.kernel.decision import Deny, Reason
from hilum.registry.models import Environment
from hilum.standards import oauth
from hilum.standards.smart import scopes as smart
from hilum.standards.smart.scopes import ClinicalScope, Prefix
from hilum.web.errors import Trouble, trouble_page
from hilum.web.kit import Kit
from hilum.web.pages import day
from hilum.web.urls import with_query

TEMPLATES = Path(__file__).parent / "templates"

_NEXT = "Go back to the app and start again."
_HAPPENED = {
    "request_finished": "You have already answered here, and that answer counts. This page works only once.",
    "request_expired": "There was no answer for some minutes, so this was stopped for your safety. Nothing was shared.",
    "request_of_another": "Somebody else was signed in when this page was opened.",
}
"""Of these, the flow's own sentence is for its records."""
_TROUBLE = {
    "client_unknown": (
        "This app is not registered here",
        "Nothing was shared with it. Tell whoever gave you the app.",
    ),
    "redirect_uri_missing": ("This app made a mistake", "Nothing was shared with it. Tell the app's makers."),
    "redirect_uri_unknown": (
        "This app may not be what it seems",
        "You were not sent on, and nothing was shared. Tell the app's makers, or your hospital.",
    ),
    "request_malformed": ("This app made a mistake", "Nothing was shared with it. Tell the app's makers."),
    "request_finished": ("This was already answered", _NEXT),
    "request_expired": ("This took too long", _NEXT),
    "request_of_another": (
        "This was started by somebody else",
        "Nothing was shared. Start again from the app, signed in as yourself.",
    ),
}
_DURATION = {
    True: "Until you remove it, even when you are not using it. It ends after "
    f"{AUTHORIZATION_LIFE.days} days unless you agree again.",
    False: "Until you sign out, at most twelve hours.",
    None: "For about an hour. After that the app has to ask again.",
}


@dataclass(frozen=True, slots=True)
class Fields:
    """What every form of the flow carries. ``action`` is the path of authorize."""

    sealed: str
    csrf: str
    action: str


@dataclass(frozen=True, slots=True)
class PickerView:
    page: PatientPage
    text: str
    searchable: bool
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """Checkboxes that belong together: the categories of one type, or one checkbox alone (``title`` empty)."""

    title: str
    meaning: str
    choices: tuple[Choice, ...]

    def name_of(self, choice: Choice) -> str:
        """Name a category without the words that the group says already."""
        name = choice.words.title.removeprefix(f"{self.title}: ")
        return name[:1].upper() + name[1:]


def trouble(kit: Kit, request: Request, shown: DisplayedError) -> Response:
    """Say what is wrong with a request whose client cannot be told."""
    title, then = _TROUBLE.get(shown.code, ("This cannot go on", _NEXT))
    return trouble_page(
        kit.pages, request, Trouble(title, _HAPPENED.get(shown.code, shown.detail), then), status=400
    )


def groups(choices: Iterable[Choice]) -> tuple[Group, ...]:
    """Put the categories of one type together."""
    found: dict[str, list[Choice]] = {}
    for choice in choices:
        found.setdefault(choice.group or choice.value, []).append(choice)
    return tuple(_group(name, members) for name, members in found.items())


def _group(name: str, members: list[Choice]) -> Group:
    if not members[0].group:
        return Group("", "", tuple(members))
    words = consent_policy.plain_words(name)
    return Group(words.title, words.meaning, tuple(members))


def consent(kit: Kit, request: Request, stage: Stage, fields: Fields, *, whose: str = "") -> Response:
    """Ask a patient what to share, or tell staff what the tenant has agreed to. ``whose``: the record, if not the person's own."""
    texts = tuple(smart.render(scope) for scope in stage.offered)
    asking = stage.step is Step.CONSENT
    by = by_of(stage.person)
    choices = consent_policy.choices(texts, by=by) if asking else ()
    offered = {text for choice in choices for text in choice.scopes}
    rest = consent_policy.describe_all(text for text in texts if text not in offered)
    return _render(
        kit,
        request,
        "frontchannel/consent.html" if asking else "frontchannel/notice.html",
        stage,
        fields=fields,
        groups=groups(choices),
        told=rest,
        client=_client_facts(stage),
        duration=_DURATION[offline_of(stage.offered)],
        offline=offline_of(stage.offered) is True,
        writes=_any_writes((*(choice.words for choice in choices), *rest)),
        own=is_own(stage.person, stage.request.patient),
        whose=whose,
        others=_reaches_others(stage),
        manage=kit.urls.manage(stage.parties.tenant.id),
    )


def _reaches_others(stage: Stage) -> bool:
    """Check whether the app asks for more records than the chosen one: under user/ it reads all that the person may open."""
    charts = identity_policy.patients_openable(stage.person) or ()
    by_user = any(isinstance(each, ClinicalScope) and each.prefix is Prefix.USER for each in stage.offered)
    return by_user and len(charts) > 1


def is_own(person: Person, patient: str) -> bool:
    """Tell whether a record is the person's own; one for whom they act is somebody else's."""
    return not patient or person.fhir_user in {"", f"Patient/{patient}"}


def _any_writes(words: Iterable[PlainPermission]) -> bool:
    return any(each.writes for each in words)


def _client_facts(stage: Stage) -> dict[str, Any]:
    parties = stage.parties
    return {
        "name": parties.app.name,
        "vendor": parties.vendor_name,
        "purpose": parties.app.purpose,
        "description": parties.app.description,
        "certified_until": parties.facts.certified_until,
        "sandbox": parties.facts.environment is Environment.SANDBOX,
        "goes_to": oauth.form_action_source(stage.request.redirect_uri).removesuffix(":"),
        "proved": oauth.proves_client(stage.request.redirect_uri),
    }


def pick_patient(kit: Kit, request: Request, stage: Stage, fields: Fields, view: PickerView) -> Response:
    """Ask which patient the app is to be opened for."""
    shown = {"request": fields.sealed, "q": view.text}
    return _render(
        kit,
        request,
        "frontchannel/picker.html",
        stage,
        fields=fields,
        view=view,
        options=[(choice.id, label(choice)) for choice in view.page.patients],
        refused="",
        app=stage.parties.app.name,
        more=with_query(fields.action, **shown, after=view.page.after) if view.page.after else "",
        first=with_query(fields.action, request=fields.sealed),
    )


_LOOK_REFUSED: dict[Reason, tuple[int, str]] = {
    Reason.SWITCH_ENGAGED: (
        403,
        "Looking up patients is stopped here at the moment, on purpose. Ask the administrator of {tenant} when it will work again.",
    ),
    Reason.ROLE_NOT_ALLOWED: (
        403,
        "Your role does not include looking up patients. If you need it, ask the administrator of {tenant}.",
    ),
    Reason.QUOTA_EXCEEDED: (
        429,
        f"Many patients were looked up in a short time. Wait {LOOK_RETRY_AFTER_S} seconds, then reload this page.",
    ),
}
"""What the picker says, with its status, where the decision was no; anything else is a fault that passes."""
_LOOK_FAILED = (503, "The records of {tenant} cannot be searched right now. Try again in a moment.")


def picker_refused(kit: Kit, request: Request, stage: Stage, fields: Fields, deny: Deny) -> Response:
    """Show the picker without any patient, why, and the way back to the app."""
    status, sentence = _LOOK_REFUSED.get(deny.reason, _LOOK_FAILED)
    response = _render(
        kit,
        request,
        "frontchannel/picker.html",
        stage,
        status=status,
        fields=fields,
        view=PickerView(
            PatientPage(()), "", searchable=identity_policy.patients_openable(stage.person) is None
        ),
        options=[],
        app=stage.parties.app.name,
        more="",
        first="",
        refused=sentence.format(tenant=stage.parties.tenant.name),
    )
    if status in {429, 503}:
        response.headers["retry-after"] = str(LOOK_RETRY_AFTER_S)
    return response


def pick_encounter(
    kit: Kit,
    request: Request,
    stage: Stage,
    fields: Fields,
    *,
    chosen: PatientChoice,
    visits: tuple[EncounterChoice, ...],
) -> Response:
    """Ask which visit of the chosen patient is meant; none is an answer too."""
    return _render(
        kit,
        request,
        "frontchannel/encounter.html",
        stage,
        fields=fields,
        app=stage.parties.app.name,
        chosen=chosen,
        label=label(chosen),
        options=[*((each.id, _visit(each.label)) for each in visits), ("", "No particular visit")],
        first=with_query(fields.action, request=fields.sealed),
    )


def label(choice: PatientChoice) -> str:
    """Write a patient so that two of one name can be told apart."""
    number = f"record number {choice.number}" if choice.number else ""
    parts = (choice.name, _born(choice.birth_date), choice.gender, number, choice.facility)
    return ", ".join(part for part in parts if part)


def _born(text: str) -> str:
    return f"born {_in_words(text)}" if text else ""


def _visit(label: str) -> str:
    date, dot, rest = label.partition(" · ")
    return f"{_in_words(date)}{dot}{rest}"


def _in_words(text: str) -> str:
    """Write a date as people read it; one that is known in part, or is none, as it is."""
    try:
        return day(datetime.fromisoformat(text))
    except ValueError:
        return text


def window(kit: Kit, request: Request, tenant: Tenant, url: str) -> Response:
    """Offer to go on in a window of its own: nobody signs in inside a frame."""
    return kit.pages.render(
        request, "frontchannel/window.html", frame_ancestors=tenant.ehr_origins, tenant=tenant.name, url=url
    )


def manage(
    kit: Kit, request: Request, listed: ConnectedApps, *, csrf: str, done: str, names: dict[str, str]
) -> Response:
    """Show somebody's connected apps: what was granted, how long, last use, and how to take it back.

    ``names``: of the patients for whom they act, by id, as far as known.
    """
    return kit.pages.render(
        request,
        "frontchannel/manage.html",
        person=listed.person.name,
        tenant=listed.tenant.name,
        entries=[_entry(each, listed.person, names) for each in listed.apps],
        csrf=csrf,
        done=done if done in {"remove", "narrow"} else "",
        person_is_patient=listed.person.role == Role.PATIENT,
        signout=kit.urls.signout(listed.tenant.id),
    )


def _entry(connected: ConnectedApp, person: Person, names: dict[str, str]) -> dict[str, Any]:
    agreed = connected.authorization
    choices = consent_policy.choices(agreed.scopes, by=by_of(person))
    return {
        "id": agreed.id,
        "name": connected.app.name,
        "vendor": connected.vendor_name,
        "purpose": connected.app.purpose,
        "whose": _whose(person, agreed.patient, names),
        "since": agreed.created_at,
        "until": agreed.expires_at,
        "last_used": agreed.last_used_at,
        "offline": agreed.offline,
        "words": consent_policy.describe_all(agreed.scopes),
        "groups": groups(choices),
    }


def _whose(person: Person, patient: str, names: dict[str, str]) -> str:
    """Say which record an app sees, to whoever may share more than one."""
    if not patient or person.role != Role.PATIENT:
        return ""
    if is_own(person, patient):
        return "Your own" if len(person.patients) > 1 else ""
    return names.get(patient) or f"Of somebody you act for ({patient})"


def _render(kit: Kit, request: Request, template: str, stage: Stage, **facts: Any) -> Response:
    return kit.pages.render(
        request,
        template,
        form_action=[oauth.form_action_source(stage.request.redirect_uri)],
        frame_ancestors=stage.parties.tenant.ehr_origins,
        person=stage.person.name,
        tenant=stage.parties.tenant.name,
        signout=kit.urls.signout(stage.parties.tenant.id),
        **facts,
    )
