"""What forms of the consoles share: dates, texts of several lines, the sentences of faults, and who is on the other side."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from hilum.apps.names import service as lookups
from hilum.apps.names.models import Kind
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.errors import Conflict, Invalid, NotPermitted, Unavailable
from hilum.foundation.kernel.ids import TenantId
from hilum.foundation.kernel.limits import too_long
from hilum.foundation.web import faults
from hilum.foundation.web.forms import Form
from hilum.foundation.web.problems import status_of
from hilum.identity.people import service as identity

NO_FORM = Form()
REASON_BOUND = 500


def day(form: Form, name: str) -> datetime | None:
    """Return the beginning of a day (UTC) that a form has; None if the field is empty. Raises Invalid."""
    text = form.one(name).strip()
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise Invalid("form_invalid", "This is not a date.", fields={name: "malformed"}) from error


def lines(form: Form, name: str) -> tuple[str, ...]:
    """Return the lines of a field that are not empty."""
    return tuple(each.strip() for each in form.one(name).splitlines() if each.strip())


def chosen(form: Form, name: str) -> bytes:
    """Return the file that was chosen in a field. Raises Invalid if none was."""
    if name not in form.files:
        raise Invalid("form_invalid", "Choose a file.", fields={name: "missing"})
    return form.files[name]


def no_such_act(sentence: str = "Choose what to do.") -> Invalid:
    """Return the refusal of a form whose button is not on its page."""
    return Invalid("act_missing", sentence, fields={"act": "missing"})


def require_tick(form: Form, sentence: str) -> None:
    """Check that the box beside a button was ticked. Raises Invalid with the sentence that says what to tick."""
    if form.one("confirm") != "yes":
        raise Invalid("confirmation_missing", sentence, fields={"confirm": "missing"})


def required(form: Form, name: str, bound: int = REASON_BOUND, sentence: str = "Say why.") -> str:
    """Return a text that must be there, without spaces around it. Raises Invalid with the sentence that asks for it."""
    text = form.one(name).strip()
    if not text or len(text) > bound:
        raise Invalid("form_invalid", sentence, fields={name: too_long(bound) if text else "reason_missing"})
    return text


Refused = Invalid | Conflict | NotPermitted | Unavailable
"""What a page shows beside its form, so that what was typed stays."""


def answered(given: Form = NO_FORM, error: Refused | None = None) -> dict[str, Any]:
    """Return what a page shows of its form: what was typed, and if it was refused, the status, why, and the sentence of each field."""
    status = 200 if error is None else 422 if isinstance(error, Invalid) else status_of(error)
    return {
        "status": status,
        "given": given,
        # The API's answer has members; a page has its sentences below.
        "detail": error.detail.replace("; see fields.", "; see below.") if error is not None else "",
        "faults": sentences(error.fields or {"form": "invalid"}) if isinstance(error, Invalid) else {},
    }


def sentences(wrong: Mapping[str, str]) -> dict[str, str]:
    """Return the sentence of each fault, by field."""
    return {name: str(each["detail"]) for name, each in faults.explained(wrong).items()}


def named(ctx: Context, kind: Kind, text: str, field: str) -> str:
    """Return the id of what has a name, or this id. Raises Invalid if nothing has it, or several things do."""
    found = lookups.find(ctx, kind, text.strip()) if text.strip() else []
    if len(found) == 1:
        return found[0].id
    detail = (
        "Several have this name. Use the id."
        if found
        else "There is nothing with this name. Check its spelling."
    )
    raise Invalid("name_unknown", detail, fields={field: "name_of_several" if found else "name_unknown"})


def names(ctx: Context, ids: Iterable[str], tenants: Iterable[str] = ()) -> dict[str, str]:
    """Return the names behind ids and written actors that the actor may see, and those of hospitals."""
    wanted = {each.rpartition(":")[2] for each in ids if each}
    at = [TenantId(each) for each in sorted({*tenants} - {""})]
    return lookups.names(ctx, wanted) | {
        str(id_): name for id_, name in identity.tenant_names(ctx, at).items()
    }


def who(found: Mapping[str, str], written: str, otherwise: str) -> str:
    """Return the name of an actor as a record has it; ``otherwise`` for one whose name the reader may not see."""
    kind, _, id_ = written.partition(":")
    if kind in {"system", "host"}:
        return "the platform itself" if kind == "system" else f"{id_} at the host's shell"
    return found.get(id_ or kind, otherwise)
