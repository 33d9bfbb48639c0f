"""What an approval consists of: permissions in words, work, roles and an end; and what a form chose of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hilum.apps.installations.models import Needs
from hilum.apps.installations.policy import reason_for
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import App
from hilum.authorization.consent.models import Choice, Topic
from hilum.authorization.consent.policy import apply_ticks, choices, describe_all, topics, with_needs
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.standards.smart.scopes import LAUNCH_AND_IDENTITY, narrow
from hilum.foundation.web.forms import Form
from hilum.identity.people.models import Role
from hilum.policy.matrix import service as policies
from hilum.policy.matrix.models import ANY
from hilum.surfaces.console import words

ROLES = (Role.PHYSICIAN, Role.NURSE, Role.ANALYST, Role.FRONT_DESK, Role.ADMINISTRATOR, Role.PATIENT)
_ENDS = {"30d": timedelta(days=30), "90d": timedelta(days=90), "1y": timedelta(days=365)}
ENDS = (("none", "Without an end"), ("90d", "For 90 days"), ("30d", "For 30 days"), ("1y", "For a year"))


@dataclass(frozen=True, slots=True)
class Work:
    """A workflow of the policy that an app declares, with the scopes of the app that it needs, in words."""

    name: str
    title: str
    purpose: str
    scopes: tuple[str, ...]
    titles: tuple[str, ...]


def groups(scopes: Iterable[str], needs: Needs | None = None) -> tuple[Topic, ...]:
    """Return the permissions of an app as checkboxes under headings, with what the app says of each: whether it needs it, and what for."""
    offered = with_needs(choices(scopes), None if needs is None else needs.optional)
    headed = topics(offered)
    # Those of no type, such as staying signed in, stand under no topic.
    rest = tuple(each for each in offered if not headed or not each.type)
    return (*((Topic("all", "Permissions", rest),) if rest else ()), *headed)


def what_for(scopes: Iterable[str], needs: Needs) -> dict[str, str]:
    """Return why the vendor asks for what each checkbox stands for, where it wrote that."""
    found = {each.value: reason_for(each.value, needs.reasons) for each in choices(scopes)}
    return {value: text for value, text in found.items() if text}


def needed(given: Form, error: Invalid | None) -> bool:
    """Check whether a form asks to leave out what an app states that it needs."""
    return bool(given.one("anyway")) or (error is not None and error.fields.get("scopes") == "needed_by_app")


def in_words(scopes: Iterable[str]) -> list[tuple[str, str, bool]]:
    """Return what scopes permit, in words: title, whose data, and whether it changes the record."""
    return [(each.title, each.reach, each.writes) for each in describe_all(scopes)]


def works(ctx: Context, tenant: TenantId, app: App, scopes: Sequence[str]) -> tuple[Work, ...]:
    """Return the workflows that an app declares for itself, each with what it needs of some scopes; () if it declares none."""
    book = policies.current(ctx).book_at(tenant, ctx.now, app.id)
    declared = {name for each in registry.read_versions(ctx, [app.id]).values() for name in each.workflows}
    if ANY in declared:
        return ()
    found = []
    for name, workflow in book.workflows.items():
        needed = tuple(each for each in scopes if narrow((each,), workflow.scopes))
        if name in declared and needed:
            titles = tuple(title for title, _, _ in in_words(needed))
            found.append(Work(name, workflow.title, workflow.purpose, needed, titles))
    return tuple(found)


def roles(allowed: frozenset[str]) -> list[tuple[str, str]]:
    """Return roles to choose from, in words."""
    return [(role.value, words.role(role.value).capitalize()) for role in ROLES if role in allowed]


def chosen(scopes: Sequence[str], form: Form, offered: Sequence[Work]) -> tuple[str, ...]:
    """Return the scopes that a form chose: what is ticked, without what only work needs that is not."""
    ticked = apply_ticks(scopes, form.many("scope"))
    kept = frozenset(form.many("work"))
    wanted = [scope for each in offered if each.name in kept for scope in each.scopes]
    dropped = [scope for each in offered if each.name not in kept for scope in each.scopes]
    withheld = {each for each in dropped if each not in wanted}
    # By the scopes that stand behind a tick: what was unticked in words may be a part of one.
    left = [each for each in ticked if not narrow((each,), withheld) or narrow((each,), wanted)]
    return tuple(each for each in left if each not in LAUNCH_AND_IDENTITY)


def end(form: Form, now: datetime) -> datetime | None:
    """Return the end chosen in a form; None for none, or for the present one."""
    wanted = form.one("ends", "none")
    if wanted in {"none", "keep"}:
        return None
    if wanted not in _ENDS:
        raise Invalid("form_invalid", "Choose until when.", fields={"expires_at": "not_an_option"})
    return now + _ENDS[wanted]


__all__ = ["Choice", "Topic"]
