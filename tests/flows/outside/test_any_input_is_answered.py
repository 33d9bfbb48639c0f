"""Whatever is sent, the answer is one of the contract's: never a 5xx, a trace or an echo, and nothing half-written is left."""

import asyncio
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import orjson
import pytest

from hilum.foundation.infra import settings
from hilum.foundation.infra.db import Database
from hilum.foundation.infra.system import SystemClock, SystemIds
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.server.jobs import jobs_of
from tests.effort import FULL
from tests.flows.outside.conftest import Starter
from tests.flows.outside.ground import STANDALONE, Outside, tell
from tests.sim.running import Running

EXAMPLES = 150
PHASES = "coverage,fuzzing" if FULL else "coverage"
"""The boundaries of the document in each run, and at random besides under ``EFFORT=full``."""
# By its path: importing it here would load schemathesis in every worker.
FEW_CASES = Path(__file__).parents[2] / "sim" / "few_cases.py"
FEWER = f'hooks = "{FEW_CASES}"\n[phases.coverage]\nunexpected-methods = ["trace"]\n'
"""What each run tries of them: for every route each kind of mistake, and a mistake at each place, but not every kind at every place; and one
method that it does not have. Under ``EFFORT=full``, all of them.
"""
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
NOISE = frozenset(
    {
        "audit_event",
        "audit_payload",
        "audit_chain",
        "audit_checkpoint",
        "audit_head",
        "fact_change",
        "fact_epoch",
        "signin_attempt",
    }
)
"""Tables that remember refusals."""
SETTLED_S, JOBS_RAN_WITHIN_S = 0.5, 60


@pytest.fixture(scope="module")
def spare(from_seed: Starter) -> Iterator[Running]:
    """A sandbox to be mistreated, once each of its jobs has run: what they write is nobody's input."""
    running = from_seed(workers=1)
    wait_until_jobs_ran(running)
    yield running
    running.stop()


def wait_until_jobs_ran(running: Running) -> None:
    """Wait until each job holds its lease, and none of them has written anything for a while."""
    uow = UnitOfWork.create(
        Database(running.environment["HILUM_DATABASE_URL"]), SystemClock(), SystemIds(), "tests"
    )
    jobs = len(jobs_of(uow, settings.read(running.environment)))
    begun, before = time.monotonic(), rows(running)
    while True:
        time.sleep(SETTLED_S)
        now = rows(running)
        if now == before and now["lease"] >= jobs:
            return
        assert time.monotonic() - begun < JOBS_RAN_WITHIN_S, now
        before = now


def rows(running: Running) -> dict[str, int]:
    """Count the rows of every table that refusals have no business in."""
    with closing(sqlite3.connect(f"file:{running.home / 'hilum.db'}?mode=ro", uri=True)) as db:
        names = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: db.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608 - names from the schema
            for name in names
            if name not in NOISE and not name.startswith("sqlite")
        }


FORM = "application/x-www-form-urlencoded"
LONG = "A" * 70_000
FORMS: tuple[tuple[str, bytes], ...] = (
    (FORM, b""),
    (FORM, b"&&&==&=&"),
    (FORM, b"%"),
    (FORM, b"grant_type=%ff%fe"),
    (FORM, b"grant_type=%00"),
    (FORM, "grant_type=é".encode()),
    (FORM, b"\xff\xfe\x00"),
    (FORM, b"grant_type=authorization_code&grant_type=refresh_token"),
    (FORM, b"grant_type=password&username=a&password=b"),
    (FORM, b"grant_type=client_credentials&scope=" + b"system/*.cruds+" * 4_000),
    (FORM, b"grant_type=authorization_code&code=" + LONG.encode()),
    (FORM, b"grant_type=authorization_code&code=x&redirect_uri=javascript:alert(1)&code_verifier=x"),
    (FORM, b"grant_type=refresh_token&refresh_token=hil_rt_x&scope=patient/*.zz"),
    (FORM, b"grant_type=client_credentials&client_assertion_type=x&client_assertion=a.b.c"),
    (FORM, b"client_assertion=eyJhbGciOiJub25lIn0.e30.&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
    (FORM, b"token=" + b"hil_at_" + b"x" * 10_000),
    (FORM, b"token=x&token_type_hint=nonsense"),
    (FORM, b"&".join(b"a%d=1" % number for number in range(5_000))),
    ("application/json", b"{}"),
    ("application/json", b'{"grant_type": {"$ne": ""}}'),
    ("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=token\r\n\r\nx\r\n--x--"),
    ("text/plain; charset=utf-16", "grant_type=x".encode("utf-16")),
    ("", b"grant_type=x"),
    ("x" * 200, b"grant_type=x"),
)  # fmt: skip
JSONS: tuple[bytes, ...] = (
    b"", b"null", b"[]", b"1", b'"x"', b"{", b"\xff", b"\x00", b'{"a":' * 3_000, b"[" * 50_000, b'{"a":1,"a":2}', b"NaN", b"1e999",
    orjson.dumps({"redirect_uris": "x"}), orjson.dumps({"redirect_uris": [1, None, {}]}), orjson.dumps({"redirect_uris": []}),
    orjson.dumps({"redirect_uris": ["https://x.example/" + LONG]}), orjson.dumps({"redirect_uris": ["http://127.0.0.1/"] * 500}),
    orjson.dumps({"jwks": {"keys": [{"kty": "RSA", "n": "", "e": ""}]}, "redirect_uris": ["http://127.0.0.1/cb"]}),
    orjson.dumps({"jwks": {"keys": "x"}, "jwks_uri": "http://127.0.0.1/x"}), orjson.dumps({"scope": 5}), orjson.dumps({"scope": "\x00"}),
    orjson.dumps({"grant_types": ["implicit"], "redirect_uris": ["http://127.0.0.1/cb"]}), orjson.dumps({"client_name": "\ud7ff\n\u202e"}),
    orjson.dumps({"client_id": "bench-symmetric", "person": "\x00", "patient": "../x"}),
    orjson.dumps({"client_id": "bench-symmetric", "person": "dr.adeyemi", "patient": "x" * 5_000}),
    orjson.dumps({"client_id": "bench-symmetric", "person": "dr.adeyemi", "fhirContext": [{}] * 2_000}),
    orjson.dumps({"client_id": "bench-symmetric", "person": "dr.adeyemi", "fhirContext": [{"reference": "Patient/x"}]}),
    orjson.dumps({"client_id": "bench-symmetric", "person": "dr.adeyemi", "unknown": True}),
    orjson.dumps({"patient": {"a": [1]}, "encounter": 7}), orjson.dumps({"date": "2026-02-31", "counts": [{"role": "x", "count": 10**30 % 2**63}]}),
    orjson.dumps({"date": "x", "counts": [{}]}),
)  # fmt: skip


def fine(answer: httpx2.Response, sent: bytes) -> None:
    """Check an answer against the contract's errors."""
    where = f"{answer.request.method} {answer.request.url} with {sent[:80]!r}: {answer.status_code} {answer.text[:300]}"
    assert 400 <= answer.status_code < 500, where
    assert answer.headers["x-request-id"].startswith("req_"), where
    assert "Traceback" not in answer.text, where
    assert len(answer.content) < 20_000, where
    assert "hil_at_xx" not in answer.text, where
    assert "hil_cs_wrong" not in answer.text, where


def test_malformed_bodies_at_the_token_endpoints_get_oauth_errors_and_write_nothing(spare: Running) -> None:
    """Contract, Errors: RFC 6749 section 5.2 in JSON at token, introspect, revoke and register, whoever says they call."""

    async def story(outside: Outside) -> None:
        client = await outside.client("bench-symmetric")
        found, right = client.discovery, (client.id, client.card["secret"])
        for name in ("token_endpoint", "introspection_endpoint", "revocation_endpoint"):
            for kind, body in FORMS:
                for auth in (None, ("bench-confidential", "hil_cs_wrong"), right):
                    if auth == right and name == "revocation_endpoint" and body.startswith(b"token="):
                        continue
                    headers = {"content-type": kind} if kind else {}
                    given: dict[str, Any] = {} if auth is None else {"auth": auth}
                    answer = await outside.http.post(found[name], content=body, headers=headers, **given)
                    if answer.status_code == 200:
                        assert name == "introspection_endpoint", (name, body)
                        assert answer.json() == {"active": False}
                        continue
                    fine(answer, body)
                    assert auth != right or answer.status_code != 429, "judged, not put off"
                    assert set(answer.json()) >= {"error", "error_description"}, answer.text
                    assert answer.headers["cache-control"] == "no-store"
        for body in JSONS:
            answer = await outside.http.post(found["registration_endpoint"], content=body)
            fine(answer, body)
            assert answer.json()["error"] in {
                "invalid_client_metadata",
                "invalid_redirect_uri",
                "invalid_request",
            }

    before = rows(spare)
    tell(spare, story)
    assert rows(spare) == before


def test_malformed_orders_at_the_ehrs_door_name_what_is_wrong_and_open_nothing(spare: Running) -> None:
    """Contract, Errors: problem+json at launches and activity, from an EHR that may."""

    async def story(outside: Outside) -> dict[str, int]:
        base, bearer = outside.running.tenant(), await outside.ehr_bearer()
        opened = await outside.open_launch("bench-symmetric")
        before = rows(spare)
        one = f"{base['launch_api']}/{opened.json()['id']}"
        for body in JSONS:
            for method, url in (
                ("POST", base["launch_api"]),
                ("PATCH", one),
                ("PATCH", base["launch_api"] + "/nothing"),
                ("POST", f"{base['issuer']}/ehr/activity"),
            ):
                if (method, url, body) == ("PATCH", one, b"{}"):
                    continue
                answer = await outside.http.request(method, url, content=body, headers=bearer)
                fine(answer, body)
                assert answer.headers["content-type"].startswith("application/problem+json"), answer.text
        for path in ("x", "%00", "%ff", "." * 300, "a" * 5_000):
            answer = await outside.http.get(f"{base['issuer']}/ehr/open/{path}")
            fine(answer, path.encode())
        return before

    before = tell(spare, story)
    assert rows(spare) == before


AUTHORIZE: tuple[dict[str, str], ...] = (
    {"client_id": ""}, {"client_id": "\x00"}, {"client_id": "nobody"}, {"client_id": LONG[:9_000]}, {"redirect_uri": ""},
    {"redirect_uri": "javascript:alert(1)"}, {"redirect_uri": "http://127.0.0.1:9009/callback/"}, {"redirect_uri": "//evil.example"},
    {"redirect_uri": "http://127.0.0.1:9009/callback\r\nX: y"}, {"redirect_uri": "é"},
)  # fmt: skip
"""Without a client and a redirect that fit, nobody is sent anywhere."""
SENT_BACK: tuple[dict[str, str], ...] = (
    {"response_type": "token"}, {"response_type": "code token"}, {"response_type": "-"}, {"scope": ""}, {"scope": "-"}, {"scope": "\x00"},
    {"scope": "patient/*.zz system/*.rs"}, {"scope": "a " * 3_000}, {"aud": "-"}, {"aud": "https://evil.example/fhir"}, {"code_challenge": "-"},
    {"code_challenge": "short"}, {"code_challenge_method": "plain"}, {"code_challenge_method": "-"}, {"launch": "x" * 5_000},
    {"launch": "\x00"}, {"prompt": "none"}, {"max_age": "-1x"}, {"response_mode": "form_post"}, {"request": "x.y.z"}, {"state": "s" * 9_000},
    {"nonce": "\x00" * 3}, {"patient": "someone-else"},
)  # fmt: skip


def test_malformed_authorization_requests_go_back_with_an_error_or_nowhere(spare: Running) -> None:
    """C28, RFC 6749 section 4.1.2.1: no code, no 5xx; a bad client or redirect never redirects."""

    async def story(outside: Outside) -> None:
        client = await outside.client("bench-public")
        endpoint = client.discovery["authorization_endpoint"]
        for method in ("GET", "POST"):
            for change in AUTHORIZE + SENT_BACK:
                sent = client.authorize_parameters(**({"scope": STANDALONE} | change))
                parts = {"params": sent} if method == "GET" else {"data": sent}
                answer = await outside.http.request(method, endpoint, **parts)  # type: ignore[arg-type]
                assert answer.status_code < 500, (method, change, answer.text[:300])
                where = answer.headers.get("location", "")
                assert "code=" not in where, (change, where)
                if change in AUTHORIZE:
                    assert not where, (change, where)
                elif where and not where.startswith(outside.running.base):
                    assert where.startswith(client.redirect_uri), where
                    assert "error=" in where
        for kind, body in FORMS:
            answer = await outside.http.post(endpoint, content=body, headers={"content-type": kind or FORM})
            fine(answer, body)

    tell(spare, story)


def test_malformed_pages_forms_and_paths_get_a_page_that_says_what_happened(spare: Running) -> None:
    """Contract, Errors: sign-in, picker, consent and connected apps; any method, any path, any encoding."""

    async def story(outside: Outside) -> None:
        base = outside.running.tenant()
        person = outside.browser()
        await person.go(f"{base['issuer']}/signin", ())
        forms = ("signin", "oauth/manage", "oauth/authorize/context", "oauth/authorize/consent", "signout")
        for path in forms:
            for kind, body in FORMS:
                for browser in (outside.http, person.http):
                    headers = {"origin": outside.running.base} | ({"content-type": kind} if kind else {})
                    answer = await browser.post(f"{base['issuer']}/{path}", content=body, headers=headers)
                    assert answer.status_code < 500, (path, kind, body[:80], answer.text[:300])
                    assert "Traceback" not in answer.text
        strange = (
            "%00",
            "%ff",
            "..%2f..%2fetc",
            "%2e%2e/",
            "a" * 6_000,
            "'\"<script>",
            "static/..%2fhilum.db",
            "static/x/y",
            "api/v1/%00",
        )
        for path in strange:
            for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "BREW"):
                for root in (outside.running.base, base["issuer"], outside.started.sandbox):
                    answer = await outside.http.request(method, f"{root}/{path}")
                    assert answer.status_code < 500, (method, root, path, answer.text[:300])
                    assert "<script>" not in answer.text.replace("<script ", ""), (method, root, path)

    tell(spare, story)


RAW: tuple[bytes, ...] = (
    b"GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"GET http://evil.example/ HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"GET /t/general/fhir/Patient HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer x\r\nAuthorization: Bearer y\r\n\r\n",
    b"GET /t/general/fhir/Patient HTTP/1.1\r\nHost: {host}\r\nAuthorization: \xff\xfe\r\n\r\n",
    b"POST /t/general/oauth/token HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /t/general/oauth/token HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"POST /t/general/oauth/token HTTP/1.1\r\nHost: {host}\r\nContent-Length: -1\r\n\r\n",
    b"GET /\xff\xfe HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: {host}\r\nCookie: hilum_session=\xff; a=b; ;;=\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: {host}\r\nX-Request-Id: a\r\nX-Forwarded-For: ::::,%%\r\nOrigin: null\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: {host}\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)


def test_raw_nonsense_on_the_wire_harms_nobody(spare: Running) -> None:
    """Contract, Origins and Errors: whatever comes, no 5xx, and the next caller is served."""
    parts = urlsplit(spare.base)
    assert parts.hostname
    for raw in RAW:
        with socket.create_connection((parts.hostname, parts.port or 80), timeout=10) as wire:
            with suppress(OSError):  # it may have hung up already
                wire.sendall(raw.replace(b"{host}", parts.netloc.encode()))
                wire.shutdown(socket.SHUT_WR)
            answer = b""
            while chunk := _received(wire):
                answer += chunk
        status = answer.split(b" ", 2)[1:2]
        assert not status or status[0][:1] != b"5", (raw[:80], answer[:300])
        assert b"Traceback" not in answer

    async def after(outside: Outside) -> None:
        answers = await asyncio.gather(
            *(outside.http.get(f"{outside.running.base}/readyz") for _ in range(8))
        )
        assert {answer.status_code for answer in answers} == {200}

    tell(spare, after)
    assert "Traceback" not in spare.log


def _received(wire: socket.socket) -> bytes:
    try:
        return wire.recv(65_536)
    except (TimeoutError, ConnectionResetError):
        return b""


NOT_HERE = ("--exclude-method", "DELETE", "--exclude-path-regex", "/events$|/password$")
# What is well-formed is read in tests/flows/test_api_lists.py, and sent by the stories of each module: of what is made up here most names
# nothing that is there.
MALFORMED = () if FULL else ("--mode", "negative")
RUNS = {
    "reads and changes": (*NOT_HERE, *MALFORMED),
    "removals and passwords": (
        "--include-path-regex",
        "/(people|tokens|certifications|installations|quotas)/",
    ),
}


@pytest.mark.parametrize("which", RUNS)
def test_the_api_answers_what_its_own_document_says_whatever_is_sent(
    spare: Running, tmp_path: Path, which: str
) -> None:
    """C183, RFC 9457; stands last, for it may stop or remove anything: schemathesis over every operation, by somebody of the staff who may everything."""
    token = spare.staff("platform_admin")["api_token"]
    configuration = tmp_path / "schemathesis.toml"
    configuration.write_text("" if FULL else FEWER)
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        "--config-file",
        str(configuration),
        "run",
        f"{spare.base}/api/openapi.json",
        *("--header", f"Authorization: Bearer {token}"),
        *("--max-examples", str(EXAMPLES), "--phases", PHASES, "--checks", CHECKS),
        *("--request-timeout", "20", "--no-color", "--continue-on-failure", "--seed", "7"),
        *RUNS[which],
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1_800, check=False)
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-1_000:]
    assert "Traceback" not in spare.log
