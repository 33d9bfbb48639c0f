"""Rendering of the flow's pages: picker, consent, first-use notice, connected apps and errors."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from hilum.apps.registry.models import Environment
from hilum.authorization.authorize.connected import ConnectedApp, ConnectedApps
from hilum.authorization.authorize.flow import ClientContext, FlowState
from hilum.authorization.authorize.models import PICKER_RETRY_AFTER_S, Step
from hilum.authorization.authorize.picker import (
    EncounterChoice,
    PatientChoice,
    PatientPage,
    date_in_words,
    label,
)
from hilum.authorization.authorize.policy import DisplayedError, RefusedLaunch, consenter_of, offline_of
from hilum.authorization.consent import policy as consent_policy
from hilum.authorization.consent.models import Choice, PlainPermission, Topic
from hilum.foundation.kernel.decision import Deny, Reason
from hilum.foundation.kernel.sentences import Sentence, day, joined, pattern
from hilum.foundation.standards import oauth
from hilum.foundation.standards.smart import scopes as smart
from hilum.foundation.standards.smart.scopes import ClinicalScope, Prefix
from hilum.foundation.web.branding import app_logo, brand_of
from hilum.foundation.web.errors import Trouble, trouble_of, trouble_page
from hilum.foundation.web.kit import Kit
from hilum.foundation.web.pages import Brand, Policy
from hilum.foundation.web.urls import path_of, with_query
from hilum.identity.people import policy as identity_policy
from hilum.identity.people.models import Person, Role, Tenant
from hilum.policy.matrix.models import Expiry, Lifetimes

TEMPLATES = Path(__file__).parent / "templates"

_NEXT = "Go back to the app and start again."
HAPPENED = {
    "request_finished": "You have already answered here, and that answer counts. This page works only once.",
    "request_expired": "There was no answer for some minutes, so this was stopped for your safety. Nothing was shared.",
    "request_of_another": "Somebody else was signed in when this page was opened.",
}
"""Sentences for the page, instead of the error's own ``detail``."""
CANNOT_GO_ON = "This cannot continue"
TITLE_AND_NEXT = {
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
DAY_S, HOUR_S, MINUTE_S = 86_400, 3_600, 60
_DURATIONS = {
    Expiry.ONE_TIME: pattern("This once, for at most %(time)s. The next time you are asked again."),
    Expiry.STUDY: pattern(
        "As long as the study goes on at this hospital, at most %(time)s, or until you remove it."
    ),
    Expiry.FIXED: pattern(
        "At most %(time)s from today, or until you remove it. Using it does not make that longer."
    ),
}
"""Sentences about how long access lasts, by an expiry other than a rolling one."""


@dataclass(frozen=True, slots=True)
class Fields:
    """The hidden fields of every form of the flow. ``action`` is the path of the authorization endpoint."""

    sealed: str
    csrf: str
    action: str


@dataclass(frozen=True, slots=True)
class PickerView:
    """A page of the picker. ``text``: the name searched for. ``wrong``: the last choice was refused. ``needs_name``: nobody is listed without one."""

    page: PatientPage
    text: str
    searchable: bool
    wrong: bool = False
    needs_name: bool = False


@dataclass(frozen=True, slots=True)
class Group:
    """A group of checkboxes: the categories of one type, or a single checkbox (``title`` empty). ``words`` describe the type."""

    title: str
    meaning: str
    choices: tuple[Choice, ...]
    words: PlainPermission | None = None

    def name_of(self, choice: Choice) -> str:
        """Return a category's title without the title of the group."""
        return Sentence("%(kind)s", kind=choice.words.kind or choice.words.title).initial_capital()


def duration(lifetimes: Lifetimes, *, offline: bool | None) -> Sentence:
    """Return how long the app will have access: with ``offline_access`` (True), with ``online_access`` (False), or with neither (None)."""
    if offline is None:
        access = _life_as_sentence(lifetimes.access_token)
        return Sentence("For %(time)s. After that the app has to ask again.", time=access)
    if lifetimes.expiry is not Expiry.ROLLING:
        short = lifetimes.expiry is Expiry.ONE_TIME
        most = lifetimes.access_token if short else lifetimes.authorization
        return Sentence(_DURATIONS[lifetimes.expiry], time=_life_as_sentence(most))
    if offline:
        return Sentence(
            "Until you remove it, even when you are not using it. It ends after %(time)s unless you agree again.",
            time=_life_as_sentence(lifetimes.authorization),
        )
    session = _life_as_sentence(lifetimes.session_refresh_token)
    return Sentence("Until you sign out, at most %(time)s.", time=session)


def _life_as_sentence(life: timedelta) -> Sentence:
    """Return a duration in its largest unit that divides it: ``1 hour``, ``90 days``."""
    seconds = int(life.total_seconds())
    if seconds % DAY_S == 0:
        return Sentence.counted("%(number)s day", "%(number)s days", seconds // DAY_S)
    if seconds % HOUR_S == 0:
        return Sentence.counted("%(number)s hour", "%(number)s hours", seconds // HOUR_S)
    if seconds % MINUTE_S == 0:
        return Sentence.counted("%(number)s minute", "%(number)s minutes", seconds // MINUTE_S)
    return Sentence.counted("%(number)s second", "%(number)s seconds", seconds)


def displayed_error(kit: Kit, request: Request, error: DisplayedError) -> Response:
    """Render the error of a request that cannot be redirected to its client."""
    # RFC 6749 section 4.1.2.1: with an unknown client or redirect URI the person sees an error page, and
    # the browser is not redirected.
    title, then = TITLE_AND_NEXT.get(error.code, (CANNOT_GO_ON, _NEXT))
    return trouble_page(
        kit.pages, request, Trouble(title, HAPPENED.get(error.code, error.detail), then), status=400
    )


def refused_launch(kit: Kit, request: Request, refused: RefusedLaunch) -> Response:
    """Render why a launch is refused, with a link back to the app. The EHR may frame the page, as it would have framed the app."""
    trouble = trouble_of(refused.refusal, back=refused.back.uri)
    return trouble_page(
        kit.pages, request, trouble, status=403, policy=Policy(frame_ancestors=refused.framed_by)
    )


def groups(choices: Iterable[Choice]) -> tuple[Group, ...]:
    """Group the categories of one type."""
    by_name: dict[str, list[Choice]] = {}
    for choice in choices:
        by_name.setdefault(choice.group or choice.value, []).append(choice)
    return tuple(_group(name, members) for name, members in by_name.items())


def _group(name: str, members: list[Choice]) -> Group:
    if not members[0].group:
        return Group("", "", tuple(members))
    words = consent_policy.plain_words(name)
    return Group(words.title, words.meaning, tuple(members), words)


def _content(words: PlainPermission) -> str:
    """Return the subject of a permission as an entry of a list, with its verbs unless it permits reading only."""
    if words.verbs == ("see",) and not words.kind:
        return words.what
    return words.title.within_a_sentence() if isinstance(words.title, Sentence) else words.title


@dataclass(frozen=True, slots=True)
class TopicView:
    """A heading of a long consent page with its groups; ``contents`` are the titles of what it covers, so that nothing is hidden."""

    key: str
    title: str
    contents: Sentence
    groups: tuple[Group, ...]
    sensitive: bool
    writes: bool


def _topic(topic: Topic) -> TopicView:
    topic_groups = groups(topic.choices)
    contents = dict.fromkeys(_content(each.words or each.choices[0].words) for each in topic_groups)
    return TopicView(
        topic.key,
        topic.title,
        joined(contents, ", "),
        topic_groups,
        sensitive=any(each.words.sensitive for each in topic.choices),
        writes=_any_writes(each.words for each in topic.choices),
    )


def consent(
    kit: Kit, request: Request, flow_state: FlowState, fields: Fields, *, whose: str = ""
) -> Response:
    """Render the consent page for a patient, or the first-use notice for staff. ``whose``: the label of a record that is not the person's own."""
    lifetimes = flow_state.lifetimes
    assert lifetimes is not None, "it is set with the step"
    texts = tuple(smart.render(scope) for scope in flow_state.offered)
    asking = flow_state.step is Step.CONSENT
    by = consenter_of(flow_state.person)
    choices = consent_policy.choices(texts, by=by) if asking else ()
    choices = consent_policy.with_needs(choices, flow_state.client_context.facts.optional_scopes)
    topics = [_topic(each) for each in consent_policy.topics(choices)]
    # Scopes without a checkbox (identity, launch context) are listed below the checkboxes.
    offered = {text for choice in choices for text in choice.scopes}
    rest = consent_policy.describe_all(text for text in texts if text not in offered)
    return _render(
        kit,
        request,
        "authorize/consent.html" if asking else "authorize/notice.html",
        flow_state,
        fields=fields,
        shown=flow_state.shown,
        groups=groups(each for each in choices if not (topics and each.type)),
        topics=topics,
        descriptions=rest,
        client=_client_facts(kit, flow_state),
        duration=duration(lifetimes, offline=offline_of(flow_state.offered)),
        offline=offline_of(flow_state.offered) is True,
        writes=_any_writes((*(choice.words for choice in choices), *rest)),
        own=is_own(flow_state.person, flow_state.request.patient),
        whose=whose,
        others=_reaches_others(flow_state),
        agreed_at=flow_state.agreed.created_at if flow_state.agreed is not None else None,
        manage=kit.urls.manage(flow_state.client_context.tenant.id),
    )


def _reaches_others(flow_state: FlowState) -> bool:
    """Check whether the app requests more than the chosen record: ``user/`` scopes cover every chart that the person may open."""
    charts = identity_policy.patients_openable(flow_state.person) or ()
    by_user = any(
        isinstance(each, ClinicalScope) and each.prefix is Prefix.USER for each in flow_state.offered
    )
    return by_user and len(charts) > 1


def is_own(person: Person, patient: str) -> bool:
    """Check whether a record is the person's own, not that of a person for whom they act as proxy."""
    return not patient or person.fhir_user in {"", f"Patient/{patient}"}


def _any_writes(words: Iterable[PlainPermission]) -> bool:
    return any(each.writes for each in words)


def _client_facts(kit: Kit, flow_state: FlowState) -> dict[str, Any]:
    client_context = flow_state.client_context
    return {
        "name": client_context.app.name,
        "logo": app_logo(kit.urls, client_context.app.id, client_context.app.logo),
        "vendor": client_context.vendor_name,
        "purpose": client_context.app.purpose,
        "description": client_context.app.description,
        # The app of one hospital comes from dynamic registration: nobody has reviewed or approved it.
        "self_registered": bool(client_context.app.tenant),
        "checked": _checked(client_context, kit.clock.now()),
        # Where the browser goes next, by the registered redirect URI and not by what the app claims.
        "goes_to": oauth.form_action_source(flow_state.request.redirect_uri).removesuffix(":"),
        "proved": oauth.proves_client(flow_state.request.redirect_uri),
    }


def _checked(client_context: ClientContext, now: datetime) -> Sentence:
    """Return whether an app was certified, and until when."""
    until = client_context.facts.certified_until
    if client_context.app.tenant:
        if until is None:
            return Sentence("By nobody: it registered itself in the sandbox")
        return Sentence("By nobody: it registered itself in the sandbox and ends on %(day)s", day=day(until))
    if until is None:
        return Sentence("Not certified")
    if until <= now:
        return Sentence(
            "Certified until %(day)s, which has passed: your hospital may keep using it for a short time",
            day=day(until),
        )
    if client_context.facts.environment is Environment.SANDBOX:
        return Sentence("Certified until %(day)s, for the sandbox", day=day(until))
    return Sentence("Certified until %(day)s", day=day(until))


def pick_patient(
    kit: Kit, request: Request, flow_state: FlowState, fields: Fields, view: PickerView
) -> Response:
    """Render the list of patients for whom the app may be opened."""
    query = {"request": fields.sealed, "q": view.text}
    return _render(
        kit,
        request,
        "authorize/picker.html",
        flow_state,
        fields=fields,
        view=view,
        options=[(choice.id, label(choice)) for choice in view.page.patients],
        refused="",
        app=flow_state.client_context.app.name,
        more=with_query(fields.action, **query, after=view.page.after) if view.page.after else "",
        first=with_query(fields.action, request=fields.sealed),
    )


_READ_REFUSED: dict[Reason, tuple[int, str]] = {
    Reason.SWITCH_ENGAGED: (
        403,
        pattern(
            "Looking up patients is stopped here at the moment, on purpose. Ask the administrator of %(hospital)s when it will work again."
        ),
    ),
    Reason.ROLE_NOT_ALLOWED: (
        403,
        pattern(
            "Your role does not include looking up patients. If you need it, ask the administrator of %(hospital)s."
        ),
    ),
    Reason.QUOTA_EXCEEDED: (
        429,
        pattern(
            "Many patients were looked up in a short time. Wait %(seconds)s seconds, then reload this page."
        ),
    ),
}
"""Status and sentence of the picker by the reason of a refusal. Any other reason is a temporary failure."""
_READ_FAILED = (
    503,
    pattern("The records of %(hospital)s cannot be searched right now. Try again in a moment."),
)


def picker_refused(kit: Kit, request: Request, flow_state: FlowState, fields: Fields, deny: Deny) -> Response:
    """Render the picker without patients: with the reason, and a way back to the app."""
    status, text = _READ_REFUSED.get(deny.reason, _READ_FAILED)
    response = _render(
        kit,
        request,
        "authorize/picker.html",
        flow_state,
        status=status,
        fields=fields,
        view=PickerView(
            PatientPage(()), "", searchable=identity_policy.patients_openable(flow_state.person) is None
        ),
        options=[],
        app=flow_state.client_context.app.name,
        more="",
        first="",
        refused=Sentence(text, hospital=flow_state.client_context.tenant.name, seconds=PICKER_RETRY_AFTER_S),
    )
    # Waiting does not help against a 403.
    if status in {429, 503}:
        response.headers["retry-after"] = str(PICKER_RETRY_AFTER_S)
    return response


def pick_encounter(
    kit: Kit,
    request: Request,
    flow_state: FlowState,
    fields: Fields,
    *,
    chosen: PatientChoice,
    visits: tuple[EncounterChoice, ...],
) -> Response:
    """Render the list of the chosen patient's encounters, with the option of none."""
    return _render(
        kit,
        request,
        "authorize/encounter.html",
        flow_state,
        fields=fields,
        app=flow_state.client_context.app.name,
        chosen=chosen,
        patient=chosen.name or Sentence("(no name)"),
        label=label(chosen),
        options=[
            *((each.id, _encounter_label(each)) for each in visits),
            ("", Sentence("No particular visit")),
        ],
        first=with_query(fields.action, request=fields.sealed),
    )


def _encounter_label(choice: EncounterChoice) -> str:
    date = date_in_words(choice.date) if choice.date else ""
    return joined((date, choice.kind or Sentence("Visit"), choice.status), " · ")


def continue_in_window(kit: Kit, request: Request, tenant: Tenant, url: str) -> Response:
    """Offer to continue in a new window, because sign-in is never framed (clickjacking)."""
    return kit.pages.render(
        request,
        "authorize/window.html",
        frame_ancestors=tenant.ehr_origins,
        tenant=tenant.name,
        url=url,
        brand=_brand(kit, tenant),
    )


def manage(
    kit: Kit, request: Request, listed: ConnectedApps, *, csrf: str, done: str, names: dict[str, str]
) -> Response:
    """Render a person's connected apps: what was granted, until when, its last use, and how to withdraw it.

    ``names``: names of the patients for whom the person acts, by id, as far as they could be read.
    """
    return kit.pages.render(
        request,
        "authorize/manage.html",
        person=listed.person.name,
        tenant=listed.tenant.name,
        brand=_brand(kit, listed.tenant),
        entries=[_entry(kit, each, listed.person, names, kit.clock.now()) for each in listed.apps],
        csrf=csrf,
        # It comes from the query, so only these two values may change the page.
        done=done if done in {"remove", "narrow"} else "",
        person_is_patient=listed.person.role == Role.PATIENT,
        history=path_of(kit.urls.history(listed.tenant.id)) if listed.person.patients else "",
        consents=path_of(kit.urls.consents(listed.tenant.id)),
        emergency=path_of(kit.urls.break_glass(listed.tenant.id))
        if listed.person.role in {Role.PHYSICIAN, Role.NURSE}
        else "",
        signout=kit.urls.signout(listed.tenant.id),
    )


_WHY_ENDS = {
    Reason.ONE_TIME_OVER: Sentence("it is for one opening of the app"),
    Reason.STUDY_ENDED: Sentence("with the study"),
    Reason.FIXED_END_REACHED: Sentence("on a fixed day; you are asked again then"),
    Reason.AUTHORIZATION_IDLE: Sentence("unless the app is used before"),
    Reason.AUTHORIZATION_DORMANT: Sentence("unless the app is used before"),
}


def _entry(
    kit: Kit, connected: ConnectedApp, person: Person, names: dict[str, str], now: datetime
) -> dict[str, Any]:
    agreed = connected.authorization
    assert agreed.ends is not None, "it is listed with its end"
    ends = agreed.ends
    choices = consent_policy.choices(agreed.scopes, by=consenter_of(person))
    return {
        "id": agreed.id,
        "name": connected.app.name,
        "logo": app_logo(kit.urls, connected.app.id, connected.app.logo),
        "vendor": connected.vendor_name,
        "purpose": connected.app.purpose,
        "whose": _whose(person, agreed.patient, names),
        "since": agreed.created_at,
        "until": ends.at,
        "ended": ends.at <= now,
        "why": _WHY_ENDS.get(ends.why, ""),
        "last_used": agreed.last_used_at,
        "offline": agreed.offline,
        "words": consent_policy.describe_all(agreed.scopes),
        "groups": groups(choices),
    }


def _whose(person: Person, patient: str, names: dict[str, str]) -> str:
    """Return whose record an app sees; empty if the person can share only one record."""
    if not patient or person.role != Role.PATIENT:
        return ""
    if is_own(person, patient):
        return Sentence("Your own") if len(person.patients) > 1 else ""
    # By id if the name could not be read, so that two shared records can always be distinguished.
    return names.get(patient) or Sentence("Of a person you act for (%(id)s)", id=patient)


def _render(kit: Kit, request: Request, template: str, flow_state: FlowState, **facts: Any) -> Response:
    return kit.pages.render(
        request,
        template,
        # Chromium applies form-action to the redirects after a POST as well, so it must allow the app's
        # origin; the EHR's origins may frame the page (ADR 14).
        form_action=[oauth.form_action_source(flow_state.request.redirect_uri)],
        frame_ancestors=flow_state.client_context.tenant.ehr_origins,
        person=flow_state.person.name,
        tenant=flow_state.client_context.tenant.name,
        brand=_brand(kit, flow_state.client_context.tenant),
        signout=kit.urls.signout(flow_state.client_context.tenant.id),
        **facts,
    )


def _brand(kit: Kit, tenant: Tenant) -> Brand:
    return brand_of(kit.urls, tenant.id, name=tenant.name, colour=tenant.colour, logo=tenant.logo)
