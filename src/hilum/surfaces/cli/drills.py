"""``hilum drill``: prove on a canary that a kill switch stops an app, from outside, like any app."""

import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, BinaryIO
from urllib.parse import urlencode

import click
import orjson
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import Key, KeySet

from hilum.foundation.kernel.lists import counted
from hilum.operations.drills.models import CEILING_S, TRIES_LEAST
from hilum.surfaces.cli import api
from hilum.surfaces.cli.named import CLIENT, TENANT
from hilum.surfaces.cli.output import REFUSED, as_json
from hilum.surfaces.cli.resources import json_option, show

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
COLUMNS = ("id", "passed", "tenant", "app", "began_at", "ended_at", "faults")
QUIET_S = 1.5
"""How long an endpoint must have refused without a break."""
PROVEN_WITHIN_S = 20.0
_CLOSED = frozenset({400, 401, 403})


@dataclass
class Canary:
    """A backend service, as it would run anywhere: an assertion for a token, a token for data."""

    client: str
    key: Key
    fhir: str
    scope: str
    endpoints: dict[str, str]

    def token(self) -> tuple[int, dict[str, Any]]:
        """Ask for an access token."""
        form = {"grant_type": "client_credentials", "scope": self.scope} | self._proof("token_endpoint")
        return _send(self.endpoints["token_endpoint"], form=form)

    def introspect(self, token: str) -> tuple[int, dict[str, Any]]:
        """Ask whether a token is active."""
        form = {"token": token} | self._proof("introspection_endpoint")
        return _send(self.endpoints["introspection_endpoint"], form=form)

    def read(self, token: str) -> tuple[int, dict[str, Any]]:
        """Read what the scope is for."""
        type_ = self.scope.removeprefix("system/").partition(".")[0]
        return _send(f"{self.fhir}/{type_}?_count=1", bearer=token)

    def _proof(self, endpoint: str) -> dict[str, str]:
        now = int(time.time())
        claims = {"iss": self.client, "sub": self.client, "aud": self.endpoints[endpoint], "iat": now}
        claims |= {"exp": now + 60, "jti": secrets.token_hex(16)}
        algorithm = "ES384" if self.key.key_type == "EC" else "RS384"
        header = {"alg": algorithm, "kid": self.key.kid, "typ": "JWT"}
        signed = jwt.encode(header, claims, self.key, algorithms=[algorithm])
        return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": signed}


def _send(url: str, *, form: dict[str, str] | None = None, bearer: str = "") -> tuple[int, dict[str, Any]]:
    """Send one request on a connection of its own, so that any worker may answer; 0 if nobody does."""
    headers = {"accept": "application/json, application/fhir+json"}
    if bearer:
        headers["authorization"] = f"Bearer {bearer}"
    body = None if form is None else urlencode(form).encode()
    request = urllib.request.Request(url, data=body, headers=headers)  # noqa: S310 - the platform's own address
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - as above
            return answer.status, orjson.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, {}
    except (OSError, HTTPException, orjson.JSONDecodeError):
        return 0, {}


@click.group()
def drill() -> None:
    r"""Prove that a kill switch stops an app: on a canary, which acts for nobody and reaches no patient.

    \b
    Examples:
      hilum drill run --client CLIENT --key canary.json --tenant general
      hilum drill list
    """


@drill.command("run")
@click.option("--client", "client", type=CLIENT, required=True, help="The canary's client id.")
@click.option("--key", "key", type=click.File("rb"), required=True, help="Its private key, a JWK or JWKS.")
@click.option("--tenant", type=TENANT, required=True, help="The hospital where it is installed.")
@click.option("--scope", default="system/Organization.rs", show_default=True, help="What it reads.")
@json_option
def run(*, client: str, key: BinaryIO, tenant: str, scope: str, json_: bool) -> None:
    r"""Stop the canary, measure until every endpoint refuses it, release it, and record the result.

    Exits 1 if an endpoint answered for longer than the ceiling, or if anything passed. If this command dies,
    the canary's switch ends by itself within three minutes.

    \b
    Example:
      hilum drill run --client CLIENT --key canary.json --tenant general
    """
    fhir = f"{api.base_url()}/t/{api.segment(tenant)}/fhir"
    status, endpoints = _send(f"{fhir}/.well-known/smart-configuration")
    if status != 200:
        _fail(f"{fhir} does not publish its endpoints")
    canary = Canary(client, _key(key), fhir, scope, endpoints)
    held = str(canary.token()[1].get("access_token", ""))
    if not held or canary.read(held)[0] != 200:
        _fail("the canary gets no token, or cannot read, before the drill")
    started = time.monotonic()
    begun = api.call("POST", "/drills", {"client": client, "tenant": tenant})
    measured = [_measure(name, trial, started) for name, trial in _trials(canary, held).items()]
    _wait_for_proof(begun["switch"])
    done = api.call("POST", f"/drills/{api.segment(begun['id'])}/end", {"measured": measured})
    if json_:
        as_json(done)
    else:
        _show(done)
    sys.exit(0 if done["passed"] else REFUSED)


def _key(file: BinaryIO) -> Key:
    try:
        found = orjson.loads(file.read())
        key: Key = KeySet.import_key_set(found if "keys" in found else {"keys": [found]}).keys[0]
    except (orjson.JSONDecodeError, JoseError, TypeError, ValueError, KeyError, IndexError) as error:
        raise click.UsageError("The key is not a JWK or JWKS.") from error
    return key


def _trials(canary: Canary, held: str) -> dict[str, Callable[[], bool | None]]:
    """Return how each endpoint is tried: True if it answers, False if it refuses, None if the answer is neither."""

    def judged(status: int) -> bool | None:
        return True if status == 200 else False if status in _CLOSED else None

    def introspection() -> bool | None:
        status, found = canary.introspect(held)
        is_open = judged(status)
        return bool(found.get("active")) if is_open else is_open

    return {
        "gateway": lambda: judged(canary.read(held)[0]),
        "token": lambda: judged(canary.token()[0]),
        "introspection": introspection,
    }


def _measure(endpoint: str, trial: Callable[[], bool | None], started: float) -> dict[str, Any]:
    """Try an endpoint until it has refused for QUIET_S without a break, or has answered for too long."""
    refused = 0
    begun = last_open = time.monotonic()
    last_open_ms = 0.0
    while True:
        is_open = trial()
        now = time.monotonic()
        if is_open:
            refused, last_open, last_open_ms = 0, now, 1_000 * (now - started)
        elif is_open is not None:
            refused += 1
        if (refused >= TRIES_LEAST and now - last_open >= QUIET_S) or now - begun > 3 * CEILING_S:
            break
        time.sleep(0.02)
    return {"endpoint": endpoint, "refused": refused, "last_open_ms": round(last_open_ms, 1)}


def _wait_for_proof(switch: str) -> None:
    """Wait until the containment report proves the stop, which its index and confirmations take a moment for."""
    until = time.monotonic() + PROVEN_WITHIN_S
    path = f"/switches/{api.segment(switch)}/containment"
    while time.monotonic() < until and api.call("GET", path)["report"]["verdict"] == "not_proven":
        time.sleep(0.5)


def _show(found: dict[str, Any]) -> None:
    passed = found["passed"]
    click.secho("PASSED" if passed else "FAILED", fg="green" if passed else "red", bold=True)
    for fault in found["faults"]:
        click.secho(f"  {fault}", fg="red")
    for each in found["measured"]:
        click.echo(
            f"  {each['endpoint']}: last open after {each['last_open_ms']:.0f} ms, then refused {counted(each['refused'], 'time')}"
        )
    click.echo(f"  report: {found['containment']}, the last worker after {found['slowest_ms']} ms")
    click.echo(f"drill {found['id']} on {found['app']} at {found['tenant']}, switch {found['switch']}")


def _fail(why: str) -> None:
    click.secho(f"refused: {why}.", fg="red", err=True)
    raise SystemExit(REFUSED)


@drill.command("list")
@json_option
def list_(*, json_: bool) -> None:
    r"""List drills, newest first.

    \b
    Example:
      hilum drill list --json
    """
    show(api.every("/drills"), COLUMNS, json_=json_)
