"""Whatever is thrown at the gateway: no 500, no leak, an answer that says what is wrong, and one audit record."""

import io
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from hilum.controls.switches import service as controls
from hilum.controls.switches.models import Quota
from hilum.foundation.infra import logs
from hilum.gateway.enforcement import routes
from hilum.gateway.upstream import live as upstreams
from hilum.records.audit import live as journals
from tests.effort import effort
from tests.flows.gateway_ground import GENERAL, Answer, Ground, Play, call
from tests.sim.journals import journal_of
from tests.sim.one_world import in_one_world
from tests.sim.plain_logs import use_plain
from tests.unit.gateway.enforcement.facts import observation

PATHS = [
    "Observation/o1",
    "Observation/x1",
    "Patient/p1",
    "Patient/p2",
    "Observation",
    "Patient",
    "metadata",
    "_history",
    "_search",
    "Patient/p1/Observation",
    "Patient/p1/$everything",
    "Binary/b1",
    "Group/g",
    "Provenance/pr2",
    "Observation/o1/_history/1",
    "Basic/1",
    "$export",
    "patient/p1",
    "OBSERVATION",
    "Observation/_search",
    "Medication/m1",
    "Practitioner/dr",
    "List",
    "Encounter/e1",
]
PIECES = (
    *[
        "%2f",
        "%2F",
        "%2e%2e",
        "..",
        ".",
        "//",
        "/",
        "?",
        "&",
        "=",
        "#",
        ";",
        "%00",
        "%0d%0a",
        "%ff",
        "%c0%af",
        "\x00",
        "ä",
        "\\",
        "|",
        ":",
        ",",
        "*",
        "'",
        '"',
        "<",
        ">",
        "{",
        "}",
        "[",
        "]",
        "$",
        "~",
        "^",
        "`",
    ],
    *[
        "_history",
        "_search",
        "_include",
        "_revinclude",
        "_has",
        "_filter",
        "_list",
        "_format=xml",
        "_format=json",
        "_count=0",
        "_count=-1",
        "_sort=x",
    ],
    *[
        "_summary=count",
        "_total=accurate",
        "_page=x",
        "_method=DELETE",
        "patient=p2",
        "subject=Patient/p2",
        "patient:Patient.name=x",
    ],
    *[
        "_elements=id",
        "_id=x1",
        "code:not=x",
        "_revinclude=Provenance:target",
        "_include=*",
        "access_token=x",
        "a[]=1",
        "_getpages=1",
    ],
    "A" * 300,
    "A" * 9_000,
    "%25" * 40,
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get", "")
HEADERS = (
    ("accept", "application/xml"),
    ("accept", "\xff"),
    ("content-type", "application/fhir+json"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "multipart/form-data; boundary=x"),
    ("content-encoding", "gzip"),
    ("if-match", 'W/"1"'),
    ("if-match", "x" * 5_000),
    ("if-none-match", "*"),
    ("if-none-exist", "code=x"),
    ("if-modified-since", "yesterday"),
    ("prefer", "return=minimal"),
    ("x-http-method-override", "DELETE"),
    ("range", "bytes=0-10"),
    ("cookie", "hilum_session=x"),
    ("authorization", "Basic eDp5"),
    ("authorization", "Bearer other"),
    ("dpop", "x.y.z"),
    ("origin", "null"),
    ("host", "evil.example"),
)
BODIES: tuple[bytes, ...] = (
    b"",
    b"{",
    b"null",
    b"[]",
    b'{"resourceType":"Observation"}',
    b'{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/p2"}}',
    b'{"resourceType":"Observation","subject":{"reference":"Patient/p1"},"subject":{"reference":"Patient/p2"}}',
    b'{"resourceType":"Observation","contained":[{"resourceType":"Patient"}],"subject":{"reference":"#p"}}',
    b'{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"GET","url":"http://evil/Patient/p2"}}]}',
    b'{"resourceType":' * 2_000,
    b"patient=p2&patient=p1",
    b"\xff\xfe\x00",
    b"x" * 3_000_000,
)


def mangled(chance: random.Random) -> tuple[str, str, str, bytes, list[tuple[bytes, bytes]]]:
    method = chance.choice(METHODS) if chance.random() < 0.5 else "GET"
    path = chance.choice(PATHS)
    for _ in range(chance.choice([0, 0, 0, 1, 2])):
        at = chance.randrange(len(path) + 1)
        path = path[:at] + chance.choice(PIECES) + path[at:]
    query = "&".join(chance.choice(PIECES) for _ in range(chance.choice([0, 0, 1, 2, 5])))
    headers = [
        (name.encode(), value.encode("latin-1"))
        for name, value in chance.choices(HEADERS, k=chance.choice([0, 0, 1, 3]))
    ]
    return method, path, query, chance.choice(BODIES), headers


async def throw(made: Ground, token: str | None, thrown: Any, n: int) -> Answer:
    method, path, query, body, headers = thrown
    raw = f"/t/general/fhir/{path}"
    sent = [(b"authorization", f"Bearer {token}".encode())] if token else []
    scope = {
        "type": "http",
        "method": method,
        "path": raw,
        "raw_path": raw.encode("utf-8"),
        "query_string": query.encode("utf-8", "surrogatepass"),
        "headers": sent + headers,
        "state": {"request_id": f"req_fuzz_{n}", "correlation_id": "", "source": f"192.0.2.{n % 250}"},
    }
    return await call(made.gateway, scope, body)


def test_no_input_brings_the_gateway_down_or_another_patients_data_out(play: Play) -> None:
    """C81, contract Errors: bad input is never a 500, never leaks, never changes another's record, and is always recorded."""

    async def story(made: Ground) -> None:
        made.load(observation("x1", "p2", code={"text": "CANARY-X1"}))
        app = made.clients["app"].app
        made.run(lambda ctx: controls.set_quota(ctx, app, GENERAL, Quota(10_000.0, 100_000)))
        token = made.token("patient/*.cruds")
        chance = random.Random(20_260_302)
        unrecorded = 0
        reader = journals.open_reader(journal_of(made.uow), made.uow.db.url)
        for n in range(effort(1_500, 60_000)):
            thrown = mangled(chance)
            held = (
                token if chance.random() < 0.9 else chance.choice([None, "x", "hil_at_" + "a" * 52, "\x7f"])
            )
            answer = await throw(made, held, thrown, n)
            assert answer.status < 500, (thrown, answer.body)
            assert b"CANARY" not in answer.body, thrown
            assert b"Traceback" not in answer.body
            assert answer.headers["x-content-type-options"] == "nosniff"
            if answer.status >= 400 and thrown[0] != "HEAD":
                assert answer.json["resourceType"] == "OperationOutcome", thrown
                assert answer.json["issue"][0]["details"]["text"], thrown
            if n % 50 == 0 and held == token and thrown[0] != "OPTIONS" and "metadata" not in thrown[1]:
                unrecorded += not reader.find(f"req_fuzz_{n}")
        assert unrecorded == 0
        x1 = await made.get("Observation/x1", made.token("user/Observation.r"))
        assert x1.json["meta"]["versionId"] == "2"

    play(story)


def test_no_part_of_a_tenants_name_leads_anywhere_else(play: Play) -> None:
    """C145: fuzzing tenant ids leaks nothing; C81."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Patient.rs")
        names = [
            "clinic",
            "nowhere",
            "General",
            "general%2f",
            "..",
            "%2e%2e",
            "general/..",
            "a" * 40,
            "",
            "*",
            "ä",
            "general\x00",
        ]
        for n, name in enumerate(names):
            for held in (token, None):
                raw = f"/t/{name}/fhir/Patient/p1"
                scope = {
                    "type": "http",
                    "method": "GET",
                    "path": raw,
                    "raw_path": quote(raw, safe="/%*").encode(),
                    "query_string": b"",
                    "headers": [(b"authorization", f"Bearer {held}".encode())] if held else [],
                    "state": {"request_id": f"req_name_{n}"},
                }
                answer = await call(made.gateway, scope)
                assert answer.status in {400, 401, 404}, (name, answer.body)
                assert b"Family" not in answer.body

    play(story)


def test_a_header_with_a_meaning_may_stand_only_once(play: Play) -> None:
    """C81: doubled headers."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Patient.rs").encode()
        for name, value in (
            (b"authorization", b"Bearer " + token),
            (b"if-match", b'W/"1"'),
            (b"accept", b"*/*"),
        ):
            thrown = ("GET", "Patient/p1", "", b"", [(name, value)] * 2)
            held = None if name == b"authorization" else token.decode()
            answer = await throw(made, held, thrown, 1)
            assert answer.status == 400, name

    play(story)


@in_one_world(
    "authorization",
    ["", "Bearer", "Bearer ", "bearer", "Basic eDp5", "Token x", "hil_at_x", "Bearer\tx", "DPoP x"],
)
def test_whatever_is_no_bearer_token_is_no_token(play: Play, authorization: str) -> None:
    """RFC 6750 section 3.1: without authentication information the answer has no error code."""

    async def story(made: Ground) -> None:
        answer = await made.send("GET", "Patient/p1", headers={"Authorization": authorization})

        assert answer.status == 401
        assert answer.headers["www-authenticate"] == "Bearer"

    play(story)


def test_a_token_in_the_query_or_the_body_is_not_looked_at(play: Play) -> None:
    """RFC 9700 section 4.3.2; RFC 6750 section 2.3 is not spoken."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Patient.rs")

        assert (await made.get(f"Patient/p1?access_token={token}")).status == 401
        answer = await made.get(f"Patient?access_token={token}", token)
        assert answer.status == 400
        assert token.encode() not in answer.body

    play(story)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """What is logged from now on, also by loggers that an earlier test has used."""
    stream = io.StringIO()
    logs.configure(stream)
    monkeypatch.setattr(routes, "_log", logs.get("gateway"))
    monkeypatch.setattr(upstreams, "_log", logs.get("upstream"))
    yield stream
    use_plain()


def test_no_patient_no_token_and_no_query_reaches_the_logs(
    play: Play,
    written: io.StringIO,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """C153, house rule 14: canaries in every part of a request, even one that fails inside."""

    async def explode(scope: Any, receive: Any, send: Any) -> None:
        raise KeyError("CANARY-INSIDE")

    async def story(made: Ground) -> None:
        token = made.token("patient/*.rs")
        for target in ("Patient/p1", "Observation/CANARY-ID", "Observation?code=CANARY-QUERY"):
            answer = await made.get(target, token)
            assert answer.status == 503
            assert b"CANARY" not in answer.body
            assert answer.json["resourceType"] == "OperationOutcome"
        monkeypatch.setattr(made.gateway._enforcer, "_executor", None)
        answer = await made.get("Observation/CANARY-ID?_pretty=true", token)
        assert answer.status == 500
        assert b"CANARY" not in answer.body
        logged = written.getvalue() + "".join(capsys.readouterr())
        assert "upstream.embedded.failed" in logged
        assert "gateway.request.failed" in logged
        assert "CANARY" not in logged
        assert token not in logged

    play(story, embedded=lambda _tenant: explode)
