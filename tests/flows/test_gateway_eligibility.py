"""What takes a grant away takes it away at the next request; and what cannot be confirmed or recorded is not given."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from hilum.apps.installations import service as installations
from hilum.apps.installations.models import NarrowOrder
from hilum.apps.registry import service as registry
from hilum.authorization.consent import service as consent
from hilum.authorization.tokens import service as tokens
from hilum.controls.switches import service as controls
from hilum.controls.switches.models import EngageOrder, Mode, Quota, Target, TargetKind
from hilum.foundation.web.bounds import REFUSALS_BURST, REFUSALS_RATE
from hilum.gateway.upstream.models import CONNECTIONS_PER_TENANT, WAITING_PER_TENANT
from hilum.identity.people import service as identity
from hilum.records.audit import live as journals
from hilum.records.audit.models import AccessQuery, Outcome
from tests.flows.gateway_ground import CLINIC, GENERAL, Ground, Play
from tests.sim.fhir_upstream import OtherServer
from tests.sim.journals import journal_of

SCOPES = ("openid", "patient/Observation.rs")


def installation_of(made: Ground) -> str:
    app = made.clients["app"].app
    found = made.run(lambda ctx: installations.list_installations(ctx, GENERAL))
    return next(each.id for each in found if each.app == app)


def engage(target: Target) -> Callable[[Ground, Any], None]:
    order = EngageOrder(target, Mode.FULL_STOP, "a drill")

    def take(made: Ground, _: Any) -> None:
        made.run(lambda ctx: controls.engage(ctx, order))

    return take


def narrow(**change: Any) -> Callable[[Ground, Any], None]:
    def take(made: Ground, _: Any) -> None:
        id_ = installation_of(made)
        made.run(lambda ctx: installations.narrow_installation(ctx, id_, NarrowOrder(**change)))

    return take


def uninstall(made: Ground, _: Any) -> None:
    id_ = installation_of(made)
    made.run(lambda ctx: installations.uninstall(ctx, id_))


TAKEN: dict[str, tuple[Callable[[Ground, Any], Any], int, str]] = {
    "the person withdraws": (
        lambda made, given: made.run(lambda ctx: consent.withdraw(ctx, given.id)),
        401,
        "token_revoked",
    ),
    "the tokens are revoked": (
        lambda made, given: made.run(lambda ctx: tokens.revoke_authorization(ctx, given.id)),
        401,
        "token_revoked",
    ),
    "the person leaves": (
        lambda made, _: made.run(lambda ctx: identity.deactivate_person(ctx, made.people["doctor"].id)),
        401,
        "person_inactive",
    ),
    "the app is suspended": (
        lambda made, _: made.run(lambda ctx: registry.suspend_app(ctx, made.clients["app"].app, "because")),
        403,
        "app_suspended",
    ),
    "the installation is removed": (
        uninstall,
        403,
        "app_not_installed",
    ),
    "the tenant narrows the scopes": (
        narrow(scopes=("openid", "patient/Patient.rs")),
        403,
        "scope_insufficient",
    ),
    "the tenant narrows the roles": (narrow(roles=frozenset({"nurse"})), 403, "role_not_allowed"),
    "the platform is stopped": (engage(Target(TargetKind.PLATFORM)), 403, "switch_engaged"),
    "the tenant is stopped": (engage(Target(TargetKind.TENANT, GENERAL)), 403, "switch_engaged"),
    "the scope is stopped": (
        engage(Target(TargetKind.SCOPE, "patient/Observation.rs")),
        403,
        "switch_engaged",
    ),
    "the type is stopped": (engage(Target(TargetKind.RESOURCE_TYPE, "Observation")), 403, "switch_engaged"),
    "an hour passes": (lambda made, _: made.clock.advance(timedelta(hours=1)), 401, "token_invalid"),
}


@pytest.mark.parametrize("case", TAKEN)
def test_the_next_request_is_refused(play: Play, case: str) -> None:
    """C71, C91, C140: each on the real modules, through the snapshot."""
    take, status, reason = TAKEN[case]

    async def story(made: Ground) -> None:
        given, bearer = made.authorized(*SCOPES)
        assert (await made.get("Observation/o1", bearer)).status == 200

        take(made, given)
        made.keeper.step(0)
        answer = await made.get("Observation/o1", bearer)

        assert answer.status == status
        assert answer.json["issue"][0]["details"]["coding"][0]["code"] == reason
        assert answer.json["issue"][0]["diagnostics"] == f"Decision {answer.headers['x-request-id']}"

    play(story)


def test_stopping_one_tenant_changes_nothing_at_another(play: Play) -> None:
    """C144."""

    async def story(made: Ground) -> None:
        app = made.clients["app"].app
        made.run(lambda ctx: installations.install(ctx, _install(app)))
        made.load({"resourceType": "Patient", "id": "p1"}, tenant=CLINIC)
        there = made.token("patient/Patient.r", tenant=CLINIC, person="nobody", client="app")
        engage(Target(TargetKind.TENANT, GENERAL))(made, None)
        engage(Target(TargetKind.APP_TENANT, f"{app}/{GENERAL}"))(made, None)

        here = await made.get("Observation/o1", made.token(*SCOPES))
        other = await made.get("Patient/p1", there, tenant=CLINIC)

        assert here.status == 403
        assert other.json["issue"][0]["details"]["coding"][0]["code"] != "switch_engaged"

    play(story)


def _install(app: Any) -> Any:
    from hilum.apps.installations.models import InstallOrder

    return InstallOrder(CLINIC, app, frozenset({"physician"}))


def test_a_snapshot_that_is_not_confirmed_refuses_everything(play: Play) -> None:
    """C141, security decision 7: over two seconds means 503."""

    async def story(made: Ground) -> None:
        bearer = made.token(*SCOPES)
        made.clock.advance(timedelta(seconds=2))
        assert (await made.get("Observation/o1", bearer)).status == 200
        made.clock.advance(timedelta(milliseconds=1))

        stale = await made.get("Observation/o1", bearer)
        metadata = await made.get("metadata")

        assert (stale.status, metadata.status) == (503, 503)
        assert stale.headers["retry-after"] == "1"
        assert stale.json["issue"][0]["details"]["coding"][0]["code"] == "snapshot_stale"
        made.keeper.step(0)
        assert (await made.get("Observation/o1", bearer)).status == 200

    play(story)


def test_what_cannot_be_recorded_is_not_given(play: Play) -> None:
    """C85, C154: a failing journal means 503 and no data, for permits and refusals alike."""

    async def story(made: Ground) -> None:
        bearer = made.token(*SCOPES)
        made.journal.close()

        for target, token in (
            ("Observation/o1", bearer),
            ("Observation/x1", bearer),
            ("Observation/o1", None),
        ):
            answer = await made.get(target, token)
            assert answer.status == 503
            assert answer.json["issue"][0]["details"]["coding"][0]["code"] == "audit_unavailable"
            assert b"subject" not in answer.body

    play(story)


def test_a_quota_is_enforced_and_reported(play: Play) -> None:
    """C130: 429 with Retry-After, rate headers and an OperationOutcome; refused requests cost too."""

    async def story(made: Ground) -> None:
        app = made.clients["app"].app
        made.run(lambda ctx: controls.set_quota(ctx, app, GENERAL, Quota(rate_per_s=0.5, burst=3)))
        bearer = made.token(*SCOPES)
        second = made.token(*SCOPES, client="second")

        statuses = [(await made.get(f"Observation/{id_}", bearer)).status for id_ in ("o1", "x1", "o1")]
        over = await made.get("Observation/o1", bearer)

        assert statuses == [200, 404, 200]
        assert over.status == 429
        assert over.headers["retry-after"] == "2"
        assert over.headers["ratelimit-limit"] == "3"
        assert over.headers["ratelimit-remaining"] == "0"
        assert over.json["issue"][0]["code"] == "throttled"
        assert (await made.get("Observation/o1", second)).status == 200
        made.clock.advance(timedelta(seconds=2))
        assert (await made.get("Observation/o1", bearer)).status == 200

    play(story)


def test_every_access_is_recorded_with_what_explains_it(play: Play) -> None:
    """C150; vision 3: permits and refusals alike."""

    async def story(made: Ground) -> None:
        given, bearer = made.authorized(*SCOPES)
        permitted = await made.get("Observation/o1?_pretty=true", bearer)
        refused = await made.get("Observation/x1", bearer)
        stranger = await made.get("Observation/x1")
        searched = await made.get("Observation?patient=p1", bearer)

        reader = journals.open_reader(journal_of(made.uow), made.uow.db.url)
        records = {
            name: reader.find(answer.headers["x-request-id"])
            for name, answer in (
                ("permitted", permitted),
                ("refused", refused),
                ("stranger", stranger),
                ("searched", searched),
            )
        }

        assert all(len(found) == 1 for found in records.values())
        good, bad = records["permitted"][0], records["refused"][0]
        assert (good.outcome, good.status, good.reason) == (Outcome.DONE, 200, "")
        assert (good.interaction, good.resource_type) == ("read", "Observation")
        assert good.rule == "patient/Observation.rs"
        assert (good.app, good.client) == (made.clients["app"].app, made.clients["app"].id)
        assert (good.person, good.role, good.authorization) == (
            made.people["doctor"].id,
            "physician",
            given.id,
        )
        assert (good.patient, good.path, good.query) == (
            "p1",
            "/t/general/fhir/Observation/o1",
            "_pretty=true",
        )
        assert good.snapshot > 0
        assert (bad.outcome, bad.status, bad.reason) == (Outcome.REFUSED, 404, "outside_launch_context")
        assert records["stranger"][0].reason == "token_missing"
        assert records["searched"][0].removed == 1
        assert len(reader.newest(AccessQuery(app=made.clients["app"].app))) == 3

    play(story)


def test_a_search_takes_its_price_from_the_quota_and_the_record_says_it(play: Play) -> None:
    """C131: one of two hundred records costs four reads."""

    async def story(made: Ground) -> None:
        made.run(lambda ctx: controls.set_quota(ctx, made.clients["app"].app, GENERAL, Quota(0.01, 5)))
        bearer = made.token(*SCOPES)
        statuses = [
            (await made.get(target, bearer)).status
            for target in ("Observation?_count=200", "Observation/o1", "Observation/o1")
        ]
        reader = journals.open_reader(journal_of(made.uow), made.uow.db.url)

        assert statuses == [200, 200, 429]
        assert sorted(each.cost for each in reader.newest(AccessQuery())) == [1, 1, 4]

    play(story)


def test_who_sends_on_though_the_quota_is_used_up_is_answered_more_slowly(play: Play) -> None:
    """C130, C133: a flood that is refused must not take the time that others' reads need; what is permitted does not wait."""

    async def story(made: Ground) -> None:
        made.run(lambda ctx: controls.set_quota(ctx, made.clients["app"].app, GENERAL, Quota(0.01, 1)))
        bearer, clock = made.token(*SCOPES), asyncio.get_running_loop().time
        begun, beyond = clock(), 50
        for _ in range(int(REFUSALS_BURST) + beyond):
            status = (await made.get("Observation/o1", bearer)).status

        assert status == 429
        assert clock() - begun >= 0.8 * beyond / REFUSALS_RATE

    play(story)


def test_a_server_with_too_many_requests_on_their_way_takes_no_more(play: Play) -> None:
    """C132, ADR 177: concurrency is capped, for an app alone at three quarters; 429 with Retry-After."""
    server = OtherServer()
    gate = asyncio.Event

    async def story(made: Ground) -> None:
        opened = gate()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await opened.wait()
            await server(scope, receive, send)

        held["app"] = slow
        made.run(lambda ctx: controls.set_quota(ctx, made.clients["app"].app, GENERAL, Quota(1000.0, 1000)))
        bearer = made.token(*SCOPES)
        many = (CONNECTIONS_PER_TENANT + WAITING_PER_TENANT) * 3 // 4
        waiting = [asyncio.ensure_future(made.get("Observation/o1", bearer)) for _ in range(many)]
        await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)

        over = await made.get("Observation/o1", bearer)
        opened.set()
        answers = await asyncio.gather(*waiting)

        assert over.status == 429
        assert over.json["issue"][0]["details"]["coding"][0]["code"] == "app_concurrency_exceeded"
        assert int(over.headers["retry-after"]) >= 1
        assert {answer.status for answer in answers} == {404}

    held: dict[str, Any] = {}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await held["app"](scope, receive, send)

    play(story, embedded=lambda _tenant: app)
