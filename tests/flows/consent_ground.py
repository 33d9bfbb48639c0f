"""What happens to an app after people agreed to it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from hilum.apps.clients import service as clients
from hilum.apps.registry import service as registry
from hilum.apps.registry.models import CertifyOrder, Environment, NewVersion, Profile
from hilum.authorization.consent import store
from hilum.authorization.consent.models import Authorization, Basis
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.ids import AuthorizationId, ClientId
from tests.flows.authorize_flow import Front


def new_version(front: Front) -> None:
    app, client = front.clients["web"].app, front.clients["web"]
    version = front.run(lambda ctx: registry.add_version(ctx, app, NewVersion("2.0")))
    end = front.clock.now() + timedelta(days=90)
    front.run(
        lambda ctx: registry.certify(ctx, CertifyOrder(version.id, Environment.SANDBOX, client.scopes, end))
    )
    front.run(lambda ctx: clients.adopt_version(ctx, client.id, version.id))


def certify_again(front: Front) -> None:
    client = front.clients["web"]
    end = front.clock.now() + timedelta(days=90)
    order = CertifyOrder(client.version, Environment.SANDBOX, client.scopes, end)
    front.run(lambda ctx: registry.certify(ctx, order))


def incident(front: Front) -> None:
    front.clock.advance(timedelta(seconds=1))
    front.run(lambda ctx: registry.ask_again(ctx, front.clients["web"].app, "records of others were shown"))


def states(**stated: Any) -> Callable[[Front], None]:
    """Let the vendor state something about the app, after it had stated terms and a privacy policy."""

    def change(front: Front) -> None:
        app = front.clients["web"].app
        first = Profile(terms="https://web.example/terms", privacy_policy="https://web.example/privacy")
        front.clock.advance(timedelta(seconds=1))
        _, second = front.run(lambda ctx: registry.save_profile(ctx, app, first))
        front.run(lambda ctx: registry.save_profile(ctx, app, replace(second, **stated)))

    return change


def add_agreements(uow: UnitOfWork) -> list[str]:
    """Put agreements of several people into the database; return their ids in the order of an export."""
    now = datetime(2026, 3, 2, 9, tzinfo=UTC)
    rows = []
    for n in range(12):
        person, tenant = f"per_{n % 4}", "general" if n % 4 else "children"
        rows.append((person, f"aut_{n:02d}", tenant))
        named: dict[str, Any] = {"tenant": tenant, "person": person, "app": "app_1", "version": "ver_1"}
        made = Authorization(
            id=AuthorizationId(f"aut_{n:02d}"),
            client=ClientId("cli_1"),
            basis=Basis.PERSON,
            scopes=("patient/Goal.rs",),
            created_at=now,
            expires_at=now + timedelta(days=9),
            patient=f"p{n}",
            **named,
        )
        uow.db.write(partial(store.AUTHORIZATIONS.add, value=made))
    return [id_ for person, id_, tenant in sorted(rows) if tenant == "general"]
