"""Installations are signed: who can write to the database, and has no key, makes none of them count (ADR 142)."""

from collections.abc import Callable
from dataclasses import fields
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, literal_column, select, update

from hilum.app import signed_rows
from hilum.attestations import service as attestations
from hilum.attestations import store as tree
from hilum.clients import store as client_store
from hilum.identity import service as identity
from hilum.identity.models import NewFacility
from hilum.infra.context import Context
from hilum.installations import service as installations
from hilum.installations import sheets, store
from hilum.installations.models import Installation, InstallationFacts, NarrowOrder, WidenOrder
from hilum.kernel.actor import SYSTEM
from hilum.kernel.errors import Conflict
from hilum.kernel.ids import AppId
from hilum.registry import service as registry
from tests.sim.world import START, FakeClock
from tests.store.registry_ground import GENERAL, GINA, MERCY, Ground, add_another_app, ground, rows_of

__all__ = ["ground"]
CLIENTS, ROWS, SHEETS = client_store.clients, store.installations, store.sheets
NEVER, CHANGED, MISSING = (
    "It was never signed.",
    "It does not match what was signed.",
    "It was signed, but is missing.",
)
NARROW = ("launch", "openid", "patient/Observation.rs")
Edit = Callable[[Any], Any]


def run(ground: Ground, *statements: Any) -> None:
    """Write to the database as somebody does who has no key; then anything of the app changes, so that processes read it again."""
    attestations._verified.clear()
    ground.do(SYSTEM, lambda ctx: [ctx.tx.execute(each) for each in statements])
    ground.do(SYSTEM, registry.announce_change, ground.app.id, at=GENERAL)


def counts(ground: Ground, app: Any = None) -> bool:
    """Return whether an installation counts, which every way to it says alike: authorize, tokens, the gateway and the console."""
    app = app or ground.app
    said = {
        ground.do(SYSTEM, installations.installation, GENERAL, app.id) is not None,
        ground.do(SYSTEM, installations.current, GENERAL, app) is not None,
        app.id in ground.do(SYSTEM, installations.installed_at, GENERAL, [app.id]),
        (GENERAL, app.id) in ground.facts().installations,
    }
    (one,) = said
    return one


def facility(name: str) -> NewFacility:
    return NewFacility(GENERAL, name, "General Hospital Inc.", f"Location/{name}")


def here() -> Any:
    return update(ROWS).where(ROWS.c.tenant == GENERAL, ROWS.c.removed_at.is_(None))


def faults(ground: Ground) -> tuple[str, ...]:
    return ground.do(SYSTEM, signed_rows.faults)


def limited(ground: Ground) -> Any:
    """Install the app with something in every field."""
    ground.client()
    ground.certify()
    names = [ground.do(GINA, installations.add_facility, facility(name)) for name in ("One", "Two")]
    one, two = (each.id for each in names)
    later = ground.uow.clock.now() + timedelta(days=30)
    return ground.install(
        scopes=NARROW, expires_at=later, facilities=frozenset({one, two}), denied=frozenset({two})
    )


EDITS: dict[str, Edit] = {
    "scopes": lambda _: {"scopes": "launch openid patient/*.rs"},
    "roles": lambda _: {"roles": "administrator nurse physician"},
    "a longer end": lambda found: {"expires_at": found.expires_at + timedelta(days=900)},
    "no end": lambda _: {"expires_at": None},
    "since when": lambda found: {"approved_at": found.approved_at - timedelta(days=900)},
    "environment": lambda _: {"environment": "production"},
    "a word that is none": lambda _: {"environment": "newer"},
    "all facilities": lambda _: {"facilities": None},
    "another facility": lambda _: {"facilities": "fac_other"},
    "nothing denied": lambda _: {"denied": ""},
    "default workflow": lambda _: {"default_workflow": "chart_review"},
    "networks": lambda _: {"networks": "192.0.2.0/24"},
    "hospital": lambda _: {"tenant": MERCY},
    "app": lambda _: {"app": "app_other"},
    "a field that ends in another": lambda _: {"scopes": "launch", "roles": '", "openid'},
}


def test_an_installation_that_somebody_changed_in_the_database_is_unknown(ground: Ground) -> None:
    """C179: it gives nothing, doctor reports it, and one beside it goes on. Put back as it was signed, it counts."""
    found = limited(ground)
    other = add_another_app(ground)
    mine = update(ROWS).where(ROWS.c.id == found.id)
    before = rows_of(ground, select(ROWS).where(ROWS.c.id == found.id))[0]
    for name, edit in EDITS.items():
        run(ground, mine.values(edit(found)))

        assert not counts(ground), name
        assert counts(ground, other), name
        assert f"installation of {ground.app.id} at general" in " ".join(faults(ground)), name

        run(ground, mine.values(before))
        assert counts(ground), name
    assert faults(ground) == ()


LATE = str(2**63 - 1)
IMPOSSIBLE = (
    ("approved_at", LATE),
    ("approved_at", f"-{LATE}"),
    ("expires_at", LATE),
    ("validated_at", LATE),
)
OF_ANY_TYPE = (
    ("expires_at", "'soon'"),
    ("expires_at", "9e999"),
    ("approved_at", "1e300"),
    ("scopes", "x'00ff'"),
    ("denied", "x'00ff'"),
    ("default_workflow", "x'00ff'"),
)


def test_a_row_that_cannot_be_read_is_unknown_and_named_and_keeps_nobody_from_anything(
    ground: Ground,
) -> None:
    """C179: neither the other apps from going on, nor doctor from naming what else was changed, nor the hospital from installing again."""
    ground.certify()
    ground.install()
    other = add_another_app(ground)
    on_sqlite = ground.do(SYSTEM, lambda ctx: ctx.tx.dialect.name == "sqlite")
    for edit in (*IMPOSSIBLE, *(OF_ANY_TYPE if on_sqlite else ())):
        name, value = edit
        run(ground, here().where(ROWS.c.app == ground.app.id).values({name: literal_column(value)}))

        if "validated_at" not in edit:
            assert not counts(ground), edit
        assert counts(ground, other), edit
        assert faults(ground) == (f"installation of {ground.app.id} at general: {CHANGED}",), edit
        (found,) = [
            each for each in ground.do(GINA, installations.list_installations) if each.app == ground.app.id
        ]
        shown = (*found.scopes, *found.denied, found.default_workflow)
        assert all(isinstance(each, str) for each in shown), "so that it can be shown, and removed"
        ground.do(GINA, installations.uninstall, found.id)
        ground.install()
        assert counts(ground), edit
        assert faults(ground) == (), edit
    if on_sqlite:
        run(ground, update(SHEETS).values(lines=literal_column("x'00ff'")))
        assert not counts(ground)
        assert f"installation of {ground.app.id} at general: {NEVER}" in faults(ground)


def test_a_row_that_cannot_be_read_hides_no_other_fault(ground: Ground) -> None:
    """Whoever changed an installation cannot keep doctor from naming it by what they write beside it."""
    added, _ = ground.client()
    ground.certify()
    ground.install()
    run(
        ground,
        update(CLIENTS).values(expires_at=literal_column(LATE)),
        here().values(roles="administrator nurse physician"),
    )

    client, installation = faults(ground)

    assert client == f"client/{added.id}: {CHANGED}"
    assert installation == f"installation of {ground.app.id} at general: {CHANGED}"


def test_every_field_that_enforcement_reads_is_among_those_that_are_tried() -> None:
    """A field that is added to the facts is signed, or this fails."""
    some = Installation("", GENERAL, AppId(""), (), frozenset(), "", START, expires_at=START)
    tried = {column for edit in EDITS.values() for column in edit(some)}
    assert tried == set(sheets.DECISIVE)
    facts = {each.name for each in fields(InstallationFacts)}
    assert facts <= tried | {"since"}


FIELDS_BESIDE: dict[str, Any] = {
    "what was asked and given": {"record": None},
    "a record that is none": {"record": {"scopes": 1}},
    "who approved": {"approved_by": "per_other"},
    "when it was looked at": {"validated_at": None},
    "who looked": {"validated_by": "per_other"},
    "its id": {"id": "ins_other"},
}


@pytest.mark.parametrize("values", FIELDS_BESIDE.values(), ids=list(FIELDS_BESIDE))
def test_a_record_that_somebody_changed_is_reported_and_nobody_builds_on_it(
    ground: Ground, values: Any
) -> None:
    """C97: what an app had once decides whether a widening ends what was issued before."""
    limited(ground)
    run(ground, here().values(values))

    assert faults(ground) == (f"installation of {ground.app.id} at general: {CHANGED}",)
    id_ = values.get("id") or ground.do(GINA, installations.list_installations)[0].id
    with pytest.raises(Conflict) as caught:
        ground.do(GINA, installations.widen, id_, WidenOrder(("patient/Patient.rs",)))
    assert caught.value.code == "not_as_signed"


def test_an_installation_that_somebody_added_is_unknown(ground: Ground) -> None:
    """At a hospital that never approved the app, and where it was removed."""
    ground.certify()
    found = ground.install()
    row = rows_of(ground, select(ROWS))[0]
    run(ground, insert(ROWS).values(row | {"id": "ins_evil", "tenant": MERCY}))
    assert (MERCY, ground.app.id) not in ground.facts().installations
    assert faults(ground) == (f"installation of {ground.app.id} at mercy: {NEVER}",)
    assert counts(ground)

    run(ground, delete(ROWS).where(ROWS.c.id == "ins_evil"))
    ground.do(GINA, installations.uninstall, found.id)
    for again in (here().values(removed_at=None), update(ROWS).values(removed_at=None, removed_by="")):
        run(ground, again)
    assert not counts(ground)
    assert faults(ground) == (f"installation of {ground.app.id} at general: {NEVER}",)
    run(ground, delete(ROWS), insert(ROWS).values(row))
    assert not counts(ground)


def test_what_was_signed_before_a_narrowing_is_no_better_than_what_never_was(ground: Ground) -> None:
    """Nor with its sheet as it was then, nor with the leaf of that sheet."""
    ground.certify()
    found = ground.install()

    def copy(ctx: Context) -> tuple[list[dict[str, Any]], ...]:
        return tuple(
            [dict(each) for each in ctx.tx.execute(select(t)).mappings()] for t in (ROWS, SHEETS, tree.leaves)
        )

    rows = ground.do(SYSTEM, copy)
    ground.do(GINA, installations.narrow_installation, found.id, NarrowOrder(scopes=NARROW, anyway=True))
    assert counts(ground)

    for table, of in zip((ROWS, SHEETS, tree.leaves), rows, strict=True):
        run(ground, delete(table), insert(table).values(of))
        assert not counts(ground), table.name
    assert faults(ground)


def test_an_installation_that_somebody_deleted_is_reported(ground: Ground) -> None:
    ground.certify()
    ground.install()
    run(ground, delete(ROWS))

    assert not counts(ground)
    assert faults(ground) == (f"installation of {ground.app.id} at general: {MISSING}",)


def test_an_administrator_installs_again_what_somebody_changed(ground: Ground, clock: FakeClock) -> None:
    """And nothing else of the same hospital is signed with it."""
    ground.certify()
    ground.do(GINA, installations.uninstall, ground.install().id)
    removed = rows_of(ground, select(ROWS))[0]
    edits = {
        "added": insert(ROWS).values(removed | {"id": "ins_evil", "removed_at": None}),
        "changed": here().values(scopes="launch openid patient/*.rs"),
        "deleted": delete(ROWS),
        "its sheet": update(SHEETS).values(lines="whole\n"),
        "its whole sheet": delete(SHEETS),
    }
    for name, edit in edits.items():
        run(ground, edit)
        assert not counts(ground), name

        clock.advance(timedelta(minutes=1))
        made = ground.install(scopes=NARROW)

        assert counts(ground), name
        assert ground.facts().installations[GENERAL, ground.app.id].since == clock.now()
        assert ground.do(GINA, installations.list_installations) == [made], name
        assert faults(ground) == (), name


VERBS: dict[str, Callable[[Ground, str], Any]] = {
    "narrow": lambda ground, id_: ground.do(
        GINA, installations.narrow_installation, id_, NarrowOrder(roles=frozenset({"physician"}))
    ),
    "widen": lambda ground, id_: ground.do(
        GINA, installations.widen, id_, WidenOrder(roles=frozenset({"nurse"}))
    ),
    "pin": lambda ground, id_: ground.do(GINA, installations.pin_networks, id_, ()),
    "validate": lambda ground, id_: ground.do(GINA, installations.revalidate, id_),
}


def test_a_change_signs_what_it_meant_and_nothing_that_somebody_wrote(
    ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither what stood there before, nor what a trigger of the database writes beside the change."""
    ground.certify()
    wide = here().values(scopes="launch openid patient/*.rs", roles="nurse physician")
    attest = attestations.attest

    def beside(ctx: Any, *states: Any) -> None:
        ctx.tx.execute(wide)
        attest(ctx, *states)

    for name, verb in VERBS.items():
        found = ground.install(scopes=NARROW)
        verb(ground, found.id)
        assert counts(ground), name
        assert faults(ground) == (), name

        with monkeypatch.context() as patched:
            patched.setattr(attestations, "attest", beside)
            verb(ground, found.id)
        run(ground)
        assert not counts(ground), name

        with pytest.raises(Conflict) as caught:
            verb(ground, found.id)
        assert caught.value.code in {"not_as_signed", "installation_not_in_force"}, name
        assert not counts(ground), name
        ground.do(GINA, installations.uninstall, found.id)


def test_whoever_removes_it_needs_nothing_that_is_as_it_was_signed(ground: Ground) -> None:
    """In an incident it goes, whatever somebody wrote, and stays gone when they put it back."""
    ground.certify()
    found = ground.install()
    row = rows_of(ground, select(ROWS))[0]
    sheet = rows_of(ground, select(SHEETS))[0]
    run(
        ground,
        here().values(scopes="openid", environment="newer", record=[1]),
        update(SHEETS).values(lines=""),
    )

    ground.do(GINA, installations.uninstall, found.id)

    run(ground, update(ROWS).values(row), update(SHEETS).values(sheet))
    assert not counts(ground)


def test_an_app_is_removed_also_while_nothing_that_is_signed_can_be_trusted(ground: Ground) -> None:
    """ADR 142: a damaged tree keeps nobody from it; nothing is signed then, and nothing counts."""
    ground.certify()
    found = ground.install()
    run(ground, update(tree.tree_heads).values(signature="forged"))

    ground.do(GINA, installations.uninstall, found.id)

    assert rows_of(ground, select(ROWS))[0]["removed_at"] is not None
    assert not counts(ground)


def test_damage_to_the_leaf_of_a_sheet_takes_its_apps_from_that_hospital_and_nothing_else(
    ground: Ground,
) -> None:
    """C179: ADR 159. Nobody begins the sheet again as if it were the first; a removal waits for nothing."""
    ground.certify()
    found = ground.install()
    other = add_another_app(ground)
    subject = f"installed/{sheets.sheet_of(GENERAL, ground.app.id)}"
    leaf = update(tree.leaves).where(tree.leaves.c.subject == subject)
    signed = rows_of(ground, select(tree.leaves.c.digest).where(tree.leaves.c.subject == subject))[0]
    run(ground, leaf.values(digest="0" * 64))

    assert not counts(ground)
    assert counts(ground, other)
    assert f"{subject}: What was signed of it is damaged." in faults(ground)
    with pytest.raises(Conflict) as caught:
        ground.install()
    assert caught.value.code == "attestations_not_as_signed"
    assert ground.do(SYSTEM, installations.was_removed, GENERAL, ground.app.id), (
        "nobody knows that it was not"
    )

    run(ground, leaf.values(signed))
    assert counts(ground)
    run(ground, leaf.values(digest="0" * 64))
    ground.do(GINA, installations.uninstall, found.id)
    run(ground, leaf.values(signed))
    assert not counts(ground)


def test_that_somebody_removed_an_app_is_not_forgotten_with_its_row(ground: Ground) -> None:
    """C214: no rule installs again what a person removed."""

    def was_removed(tenant: Any = GENERAL) -> bool:
        return bool(ground.do(SYSTEM, installations.was_removed, tenant, ground.app.id))

    ground.certify()
    assert not was_removed()
    ground.do(GINA, installations.uninstall, ground.install().id)
    for edit in (update(ROWS).values(removed_by="system:expiry"), delete(ROWS), delete(SHEETS)):
        assert was_removed()
        run(ground, edit)

    assert was_removed(), "what is lost may have been about it"
    ground.install()
    run(ground, delete(ROWS))
    assert was_removed(), "also once it was installed again"
    assert not was_removed(MERCY)


def test_a_denial_continues_at_a_facility_that_is_added_again_or_it_is_not_added(ground: Ground) -> None:
    """C146: who takes the deny out of the database for that moment, and puts it back, opens nothing."""
    ground.certify()
    first = ground.do(GINA, installations.add_facility, facility("Ward"))
    ground.install(denied=frozenset({first.id}))
    ground.do(GINA, identity.remove_facility, first.id)
    row, sheet = rows_of(ground, select(ROWS))[0], rows_of(ground, select(SHEETS))[0]
    put_back = [delete(ROWS), delete(SHEETS), insert(ROWS).values(row), insert(SHEETS).values(sheet)]
    for hidden in ([here().values(denied="")], [delete(ROWS)], [delete(ROWS), delete(SHEETS)]):
        run(ground, *hidden)
        with pytest.raises(Conflict) as caught:
            ground.do(GINA, installations.add_facility, facility("Ward"))
        assert caught.value.code == "not_as_signed"
        run(ground, *put_back)

    again = ground.do(GINA, installations.add_facility, facility("Ward"))
    assert counts(ground)
    assert again.id in ground.facts().installations[GENERAL, ground.app.id].denied


def test_installations_of_before_are_signed_once_and_what_is_written_afterwards_is_not(
    ground: Ground,
) -> None:
    """The upgrade: a release before this one signed none, and has no sheets."""
    ground.certify()
    found = ground.install()
    other = add_another_app(ground)
    ground.do(GINA, installations.uninstall, ground.do(SYSTEM, installations.current, GENERAL, other).id)
    leaves = ground.do(SYSTEM, lambda ctx: list(ctx.tx.execute(select(tree.leaves.c.subject)).scalars()))
    of = [each for each in leaves if each.startswith("installed/")]
    ground.do(SYSTEM, attestations.attest, *((each, "") for each in of))
    run(ground, delete(SHEETS))
    assert not counts(ground)

    assert ground.do(SYSTEM, signed_rows.begin) >= len(of)
    assert counts(ground)
    assert faults(ground) == ()
    assert ground.do(SYSTEM, installations.was_removed, GENERAL, other.id)

    run(ground, here().values(scopes="launch openid patient/*.rs user/*.rs"))
    assert ground.do(SYSTEM, signed_rows.begin) == 0
    assert not counts(ground)
    ground.do(SYSTEM, signed_rows.sign_from_scratch)
    assert counts(ground), "who runs the host has looked at it, and has the key anyway"
    assert found


def test_a_developers_own_app_leaves_nothing_signed_when_its_day_is_over(
    ground: Ground, clock: FakeClock
) -> None:
    """Strangers may register by the hundred in a sandbox."""
    body = {
        "client_name": "Trial",
        "redirect_uris": ["https://app.example/cb"],
        "scope": "openid",
        "token_endpoint_auth_method": "none",
    }
    client, _ = ground.do(SYSTEM, installations.register_dynamically, GENERAL, body)
    clock.advance(timedelta(days=2))
    later, _ = ground.do(SYSTEM, installations.register_dynamically, GENERAL, body)

    lines = "".join(ground.do(SYSTEM, lambda ctx: ctx.tx.execute(select(SHEETS.c.lines)).scalars().all()))
    assert client.app not in lines
    assert later.app in lines
    assert faults(ground) == ()

    # Nor does damage to what was signed of one that ended keep the next from being registered.
    sheet = f"installed/{sheets.sheet_of(GENERAL, later.app)}"
    run(ground, update(tree.leaves).where(tree.leaves.c.subject == sheet).values(digest="0" * 64))
    clock.advance(timedelta(days=2))
    ground.do(SYSTEM, installations.register_dynamically, GENERAL, body)
    left = ground.do(SYSTEM, lambda ctx: ctx.tx.execute(select(CLIENTS.c.id)).scalars().all())
    assert later.id not in left


def test_a_sheet_that_somebody_wrote_has_no_line_that_counts() -> None:
    for text in (
        "",
        "\n",
        "whole",
        "whole\napp_1",
        "whole\napp_1 a b\n",
        "whole\napp_1 a b c d\n\n ",
        "x\n - - -\n",
    ):
        read = sheets.parse(text)
        assert not any(line.decisive for line in read.lines.values()), text
        assert read.replaces_lost is not text.startswith("whole"), text


def test_a_sheet_is_read_as_it_was_written() -> None:
    lines = {
        AppId("app_1"): sheets.Line("a" * 40, "b" * 40),
        AppId("app_2"): sheets.Line(removed=True),
        AppId("app_3"): sheets.Line("c", "d", True),
    }
    for replaces_lost in (True, False):
        sheet = sheets.Sheet(lines, replaces_lost)
        assert sheets.parse(sheets.render(sheet)) == sheet
