"""``explain`` names the policy of that time at that hospital, and which exception, scope product and workflow were in play (C205)."""

from datetime import timedelta
from pathlib import Path

from sqlalchemy import update

from hilum.apps.registry import service as registry
from hilum.foundation.kernel.ids import AppId
from hilum.policy.matrix import service as policies
from hilum.policy.matrix import store
from tests.flows.exception_ground import lower, withhold
from tests.flows.explain_ground import READ, asked_later, explained
from tests.flows.gateway_ground import CLINIC, GENERAL, TRACE, Ground, Play, patient
from tests.flows.policy_ground import put_document_in_force


def test_each_decision_is_explained_by_the_policy_and_the_exception_of_its_time(
    play: Play, tmp_path: Path
) -> None:
    """C205, C207: not by those of today."""

    async def story(made: Ground) -> None:
        made.load(patient("p1"))
        token, version = made.token(READ), made.clients["app"].version
        before = await asked_later(made, token, 200)
        made.run(withhold)
        refused = await asked_later(made, token, 403)
        ends = made.clock.now() + timedelta(minutes=30)
        made.run(lambda ctx: lower(ctx, version, ends))
        permitted = await asked_later(made, token, 200)
        made.run(put_document_in_force)
        after = await asked_later(made, token, 200)

        assert "The policy" not in explained(made, before, tmp_path)
        text = explained(made, refused, tmp_path)
        assert "The policy in force at general then was version 2, by application 2 everywhere" in text
        withheld = "Version 2 of the policy withheld patient/*.cruds, or a part of it, from this client"
        assert f"{withheld}: the category does not allow its tier." in text
        assert "Slot" not in text, "it was a read of a Patient"
        assert "Exception" not in text
        text = explained(made, permitted, tmp_path)
        assert "then was version 2" in text
        assert "permitted it, agreed to by staff:sam until" in text
        assert f"without it, version 2 would have withheld {READ}" in text
        assert f"{READ} is of scope product" in text
        text = explained(made, after, tmp_path)
        assert "then was version 3, by application 3 everywhere" in text
        assert "permitted it, agreed" not in text

    play(story)


def test_a_version_that_was_at_another_hospital_only_explains_nothing_here(
    play: Play, tmp_path: Path
) -> None:
    """C205."""

    async def story(made: Ground) -> None:
        made.load(patient("p1"))
        token = made.token(READ)
        made.run(policies.adopt_shipped)
        made.run(lambda ctx: put_document_in_force(ctx, None, CLINIC))

        assert "then was version 1, by application 1" in explained(
            made, await asked_later(made, token, 200), tmp_path
        )
        made.run(lambda ctx: put_document_in_force(ctx, None, GENERAL))
        text = explained(made, await asked_later(made, token, 200), tmp_path)
        assert "then was version 3, by application 3 at some hospitals" in text

    play(story)


def test_an_app_that_was_moved_since_is_judged_in_its_category_of_then(play: Play, tmp_path: Path) -> None:
    """C205, C21."""

    async def story(made: Ground) -> None:
        made.load(patient("p1"))
        token, app = made.token("patient/Observation.rs"), made.clients["app"].app
        made.run(policies.adopt_shipped)
        refused = await asked_later(made, token, 403)
        before = explained(made, refused, tmp_path)
        made.clock.advance(timedelta(minutes=1))

        made.run(lambda ctx: registry.change_category(ctx, AppId(app), "scheduling", "it books"))

        assert explained(made, refused, tmp_path).startswith(before)

    play(story)


def test_a_version_that_is_not_as_it_was_signed_explains_nothing(play: Play, tmp_path: Path) -> None:
    """C179: the explanation says so, and names nothing of it."""

    async def story(made: Ground) -> None:
        made.load(patient("p1"))
        token = made.token(READ)
        made.run(withhold)
        refused = await asked_later(made, token, 403)

        made.uow.write_now(
            lambda ctx: ctx.tx.execute(update(store.versions).values(note="other")), trace=TRACE
        )

        text = explained(made, refused, tmp_path)
        assert "then was version 2" in text
        assert "no longer be read or trusted" in text
        assert "withheld" not in text.partition("then was version 2")[2]

    play(story)
