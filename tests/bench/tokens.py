"""P6: tokens a second: client credentials with an RS384 assertion, code exchange, refresh."""

import base64
import hashlib
import os
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.jwk import KeySet

from hilum.apps.clients import service as clients
from hilum.authorization.authorize import store
from hilum.authorization.authorize.models import Code
from hilum.authorization.consent import service as consent
from hilum.authorization.consent.models import Basis
from hilum.authorization.tokens import service as tokens
from hilum.authorization.tokens.models import Grant
from hilum.foundation.infra.context import Context
from hilum.foundation.kernel.actor import SYSTEM
from hilum.foundation.kernel.ids import ClientId, FamilyId, TenantId
from hilum.identity.people import service as identity
from tests.bench.figures import Figure
from tests.bench.rig import LOAD_CORE, Load, Rig, loaded, rig
from tests.bench.setup import TRACE, uow_of
from tests.sim.browser import ASSERTION_TYPE
from tests.unit.policy.matrix.books import LIFETIMES

COUNT = int(os.environ.get("BENCH_TOKENS", "9000"))
SECONDS = 4
PATIENT = "gen-pat-okafor-rosalind"
VERIFIER = "bench-verifier-bench-verifier-bench-verifier-bench"
SCRIPT = """
local bodies = {}
for line in io.lines("BODIES") do bodies[#bodies + 1] = line end
local at = 0
request = function()
  at = at + 1
  return wrk.format("POST", nil, HEADERS, bodies[at] or "grant_type=spent")
end
"""


def figures() -> list[Figure]:
    """Measure with one worker on one core; every grant is used once, as in life."""
    with rig() as made:
        tenant = made.card["tenants"][0]
        url = f"{tenant['issuer']}/oauth/token"
        secret = next(c for c in made.card["clients"] if c["client_id"] == "bench-symmetric")
        basic = base64.b64encode(f"{secret['client_id']}:{secret['secret']}".encode()).decode()
        assertion = _post(made, url, _assertions(made, url), {})
        code = _post(made, url, _codes(made, secret["redirect_uris"][0]), {"Authorization": f"Basic {basic}"})
        refresh = _post(made, url, _refreshes(made), {"Authorization": f"Basic {basic}"})
    parts = [f"{name} {load.cpu_us:.0f} us of CPU, p50 {load.p50_ms:.1f} p99 {load.p99_ms:.1f} ms, refused or spent {load.errors}"
             for name, load in (("assertion", assertion), ("code", code), ("refresh", refresh))]  # fmt: skip
    rates = [load.rate for load in (assertion, code, refresh)]
    shown = " / ".join(f"{rate:,.0f}" for rate in rates)
    reached = rates[0] >= 1_200 and rates[1] >= 800 and rates[2] >= 800
    return [
        Figure(
            "P6",
            "tokens a second: RS384 assertion / code / refresh",
            rates[0],
            f"{shown} /s",
            ">= 1200/800/800",
            reached,
            parts,
        )
    ]


def _post(made: Rig, url: str, bodies: list[str], headers: dict[str, str]) -> Load:
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder) / "bodies"
        lines.write_text("\n".join(bodies) + "\n")
        given = {"Content-Type": "application/x-www-form-urlencoded"} | headers
        table = "{" + ", ".join(f'["{name}"] = "{value}"' for name, value in given.items()) + "}"
        script = Path(folder) / "post.lua"
        script.write_text(SCRIPT.replace("BODIES", str(lines)).replace("HEADERS", table))
        command = [
            "taskset",
            "-c",
            LOAD_CORE,
            "wrk",
            "-t1",
            "-c32",
            f"-d{SECONDS}s",
            "--latency",
            "-s",
            str(script),
            url,
        ]
        return loaded(command, made)


def _assertions(made: Rig, url: str) -> list[str]:
    client = next(c for c in made.card["clients"] if c["client_id"] == "bench-backend")
    key = next(key for key in KeySet.import_key_set(client["private_jwks"]).keys if key.key_type == "RSA")
    now = int(time.time())
    bodies = []
    for at in range(COUNT):
        claims = {
            "iss": "bench-backend",
            "sub": "bench-backend",
            "aud": url,
            "exp": now + 280,
            "jti": f"bench-{at}-{now}",
        }
        signed = jwt.encode({"alg": "RS384", "kid": key.kid}, claims, key, algorithms=["RS384"])
        form = {"grant_type": "client_credentials", "scope": "system/Patient.rs", "client_assertion": signed}
        bodies.append(urlencode(form | {"client_assertion_type": ASSERTION_TYPE}))
    return bodies


def _person_grant(ctx: Context) -> Grant:
    """Make a physician's grant, with an authorization of its own."""
    tenant = TenantId("general")
    facts = clients.client_facts(ctx, ClientId("bench-symmetric"))
    person = next(each for each in identity.list_people(ctx, tenant) if each.role == "physician")
    assert facts is not None
    scopes = ("offline_access", "patient/Patient.rs")
    agreed = consent.record_authorization(
        ctx,
        tenant=tenant,
        person=person.id,
        facts=facts,
        basis=Basis.TENANT,
        scopes=scopes,
        patient=PATIENT,
        offline=True,
    )
    return Grant(
        tenant,
        facts.id,
        facts.app,
        facts.version,
        facts.vendor,
        scopes,
        person=person.id,
        role=person.role,
        fhir_user=person.fhir_user,
        patient=PATIENT,
        authorization=agreed.id,
        authorization_expires_at=agreed.expires_at,
    )


def _codes(made: Rig, redirect_uri: str) -> list[str]:
    challenge = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    uow = uow_of(made)
    secrets = [uow.ids.secret() for _ in range(COUNT)]

    def verb(ctx: Context) -> None:
        grant = _person_grant(ctx)
        for secret in secrets:
            family = FamilyId(ctx.ids.new("fam"))
            digest = hashlib.sha256(secret.encode()).digest()
            expires = ctx.now + timedelta(seconds=60)
            code = Code(
                digest, redirect_uri, challenge, family, grant, ctx.now, ctx.now, expires, offline=True
            )
            store.add_code(ctx.tx, code)

    try:
        uow.write_now(verb, actor=SYSTEM, trace=TRACE)
    finally:
        uow.close()
    form = {"grant_type": "authorization_code", "redirect_uri": redirect_uri, "code_verifier": VERIFIER}
    return [urlencode(form | {"code": secret}) for secret in secrets]


def _refreshes(made: Rig) -> list[str]:
    uow = uow_of(made)

    def verb(ctx: Context) -> list[str]:
        grant = _person_grant(ctx)
        life = timedelta(minutes=5)
        minted = (
            tokens.mint(ctx, grant, offline=True, code_family=None, lifetimes=LIFETIMES, life=life)
            for _ in range(COUNT)
        )
        return [each.refresh_token for each in minted]

    try:
        found = uow.write_now(verb, actor=SYSTEM, trace=TRACE)
    finally:
        uow.close()
    return [urlencode({"grant_type": "refresh_token", "refresh_token": each}) for each in found]
