"""No write points at a Binary or at an address of the FHIR server, and no answer carries an address of the FHIR server or its storage.

Some servers sign links: they turn a url that names a Binary into a link that opens it for an hour, for whoever holds it.
"""

import json
from typing import Any

import pytest

from tests.attack.pointing_ground import binary, document
from tests.flows.gateway_ground import PLATFORM, Ground, Play, patient
from tests.sim.fhir_upstream import OtherServer
from tests.unit.gateway.enforcement.facts import observation

CANARY = "SECRET-OF-P2"
INLINE = b"Send the content inline, as attachment.data"
BASE = f"{PLATFORM}/t/general/fhir"


def signing(**more: Any) -> OtherServer:
    server = OtherServer(signs=True, **more)
    server.load(patient("p1"), patient("p2"), binary("mine", "mine"), binary("theirs", CANARY))
    server.load(document("d1", "p1", "Binary/mine"), document("d2", "p2", "Binary/theirs"))
    server.load(observation("o1", "p1", code={"text": "x"}))
    return server


SPELLINGS = (
    "Binary/theirs",
    "./Binary/theirs",
    "/fhir/Binary/theirs",
    "Binary/theirs/_history/1",
    "Binary%2Ftheirs",
    "BINARY/theirs?x=1#y",
    f"{BASE}/Binary/theirs",
    "http://upstream.internal/fhir/Binary/theirs",
    "HTTP://user:pw@UPSTREAM.internal:80/storage/theirs",
    "Binary/none",
)
PLACES: tuple[dict[str, Any], ...] = (
    {"extension": [{"url": "@", "valueString": "x"}]},
    {"extension": [{"url": "http://x.example/e", "valueUrl": "@"}]},
    {"extension": [{"url": "http://x.example/e", "extension": [{"url": "a", "valueUri": "@"}]}]},
    {"extension": [{"url": "http://x.example/e", "valueReference": {"reference": "@"}}]},
    {"extension": [{"url": "http://x.example/e", "valueAttachment": {"url": "@"}}]},
    {"note": [{"text": "@"}]},
    {"note": [{"text": "x", "extension": [{"url": "@", "valueString": "x"}]}]},
    {"_status": {"extension": [{"url": "http://x.example/e", "valueCanonical": "@"}]}},
    {"derivedFrom": [{"reference": "@"}]},
    {"derivedFrom": [{"type": "DocumentReference", "identifier": {"system": "@", "value": "1"}}]},
    {
        "contained": [{"resourceType": "Organization", "id": "o", "endpoint": [{"reference": "@"}]}],
        "performer": [{"reference": "#o"}],
    },
    {"meta": {"source": "@"}},
    {"valueString": "see @ there"},
    {
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml"><a href="@">x</a></div>',
        }
    },
)


@pytest.mark.parametrize("http", [True, False])
def test_no_write_points_at_what_its_app_may_not_read(play: Play, http: bool) -> None:
    """C79, security decision 22: wherever it stands, however it is spelled, there or not, at any server."""
    server = signing()

    async def story(made: Ground) -> None:
        if not http:
            made.load(patient("p2"), binary("theirs", CANARY), document("d2", "p2", "Binary/theirs"))
        token = made.token("patient/Observation.crus", "patient/DocumentReference.rs")
        stored = dict(server.resources)
        through: list[tuple[int, str]] = []
        for n, place in enumerate(PLACES):
            for spelling in SPELLINGS[n % 3 :: 3] if n else SPELLINGS:
                if not http and "/storage/" in spelling:
                    continue
                more = json.loads(json.dumps(place).replace("@", spelling))
                body = observation("o1", "p1", code={"text": "x"}, **more)
                for method, target in (("POST", "Observation"), ("PUT", "Observation/o1")):
                    answer = await made.send(method, target, token, body=body)
                    if answer.status != 400 or INLINE not in answer.body:
                        through.append((n, spelling))

        assert through == []
        assert server.resources == stored

    play(story, **({"embedded": lambda _: server} if http else {}))


READABLE = ("Binary/mine", "Binary/mine/_history/1", f"{BASE}/Binary/mine")


@pytest.mark.parametrize("http", [True, False])
def test_no_write_points_at_what_its_app_may_read_either(play: Play, http: bool) -> None:
    """Security decision 22: what is within reach now may be withheld later, and an app's own pointer would go on opening it."""
    server = signing()
    server.signs = False

    async def story(made: Ground) -> None:
        made.load(binary("mine", "mine"), document("d1", "p1", "Binary/mine"))
        token = made.token("patient/DocumentReference.crus", "patient/Observation.crus")
        assert (await made.get("Binary/mine", token)).body == b"mine"
        stored = dict(server.resources)
        for url in READABLE:
            for place in PLACES:
                body = observation(
                    "o1", code={"text": "x"}, **json.loads(json.dumps(place).replace("@", url))
                )
                for method, target in (("POST", "Observation"), ("PUT", "Observation/o1")):
                    answer = await made.send(method, target, token, body=body)
                    assert (answer.status, INLINE in answer.body) == (400, True), (url, place, method)
            twice = document("d1", "p1", "Binary/mine") | {"description": url}
            for method, target, body in (
                ("POST", "DocumentReference", document("x", "p1", url)),
                ("PUT", "DocumentReference/d1", twice),
            ):
                answer = await made.send(method, target, token, body=body)
                assert (answer.status, INLINE in answer.body) == (400, True), (url, method)
        assert server.resources == stored

    play(story, **({"embedded": lambda _: server} if http else {}))


def test_a_record_is_written_back_as_it_was_read_and_content_goes_inline(play: Play) -> None:
    """C79: an app may update a record that the hospital attached a Binary to, and add content of its own."""
    server = signing()
    server.signs = False

    async def story(made: Ground) -> None:
        token = made.token("patient/DocumentReference.crus")
        read = (await made.get("DocumentReference/d1", token)).json
        more = {"attachment": {"contentType": "text/plain", "data": "bWluZQ=="}}

        answer = await made.send(
            "PUT", "DocumentReference/d1", token, body=read | {"content": [*read["content"], more]}
        )

        assert answer.status == 200
        assert (await made.get("Binary/mine", token)).body == b"mine"

    play(story, embedded=lambda _: server)


def test_a_record_keeps_what_it_said_and_gains_nothing_by_it(play: Play) -> None:
    """C79: what only mentions a Binary does not become an attachment by being written back in another place."""

    async def story(made: Ground) -> None:
        made.load(patient("p2"), binary("theirs", CANARY))
        mentioned = {"extension": [{"url": "http://x.example/e", "valueUri": "Binary/theirs"}]}
        made.load(document("d1", "p1") | mentioned)
        token = made.token("patient/DocumentReference.crus")
        same = document("d1", "p1") | mentioned | {"description": "again"}
        moved = document("d1", "p1", "Binary/theirs") | mentioned

        assert (await made.send("PUT", "DocumentReference/d1", token, body=same)).status == 200
        assert (await made.send("PUT", "DocumentReference/d1", token, body=moved)).status == 400
        assert (await made.get("Binary/theirs", token)).status == 404

    play(story)


# --- answers -------------------------------------------------------------------------------------------------------------------

LEAKS: tuple[dict[str, Any], ...] = (
    {"extension": [{"url": "http://upstream.internal/ext/a", "valueString": "x"}]},
    {
        "extension": [
            {
                "url": "http://x.example/e",
                "valueUrl": "https://upstream.internal:9000/bucket/x?X-Amz-Signature=1",
            }
        ]
    },
    {
        "extension": [
            {
                "url": "http://x.example/e",
                "valueAttachment": {"url": "https://s3.example/x?X-Amz-Signature=1"},
            }
        ]
    },
    {
        "extension": [
            {"url": "http://x.example/e", "valueUri": "https://cdn.example/x?Expires=1&Signature=zzz"}
        ]
    },
    {
        "note": [
            {"text": "see //upstream.internal/storage/x and HTTP://UPSTREAM.INTERNAL:80/fhir/Observation/o9."}
        ]
    },
    {"derivedFrom": [{"reference": "http://user:pw@upstream.internal/fhir/Observation/o9"}]},
    {"meta": {"source": "http://upstream.internal/feed/7", "profile": ["http://upstream.internal/p"]}},
    {
        "text": {
            "status": "generated",
            "div": '<div xmlns="http://www.w3.org/1999/xhtml"><a href="http://upstream.internal/s?a=1&amp;b=2">x</a></div>',
        }
    },
    {
        "contained": [
            {
                "resourceType": "Organization",
                "id": "o",
                "telecom": [{"system": "url", "value": "http://upstream.internal/x"}],
            }
        ]
    },
    {"_status": {"extension": [{"url": "http://x.example/e", "valueUri": "http://upstream.internal/x"}]}},
)
SHOWS_NOTHING = (b"upstream.internal", b"storage", b"ignature", b"s3.example", b"secret", b"user:pw")


def assert_clean(body: bytes) -> None:
    shown = [sign for sign in SHOWS_NOTHING if sign in body.lower()]
    assert shown == [], body


@pytest.mark.parametrize("escaped", [False, True])
def test_no_answer_carries_an_address_of_the_server_or_its_storage(play: Play, escaped: bool) -> None:
    """C70, security decision 22: a link that opens by itself outlives every stop."""
    server = signing(ascii_escapes=escaped)
    for n, leak in enumerate(LEAKS):
        server.resources[f"Observation/l{n}"] = observation(f"l{n}", "p1", code={"text": "x"}, **leak)
    server.resources["DocumentReference/s3"] = document(
        "s3", "p1", "https://s3.example/secret", "/storage/secret"
    )
    server.resources["Patient/p1"]["photo"] = [{"url": f"{server.storage}/secret"}]

    async def story(made: Ground) -> None:
        token = made.token("patient/*.rs")
        for n in range(len(LEAKS)):
            read = await made.get(f"Observation/l{n}", token)
            assert (read.status, read.json["id"]) == (200, f"l{n}")
            assert_clean(read.body)
        for target in (
            "DocumentReference/d1",
            "DocumentReference/s3",
            "Patient/p1",
            "Observation?_count=50",
            "DocumentReference",
        ):
            answer = await made.get(target, token)
            assert answer.status == 200
            assert_clean(answer.body)
        cut = (await made.get("DocumentReference/s3", token)).json["content"]
        assert [sorted(each["attachment"]) for each in cut] == [["_url", "contentType"]] * 2
        assert cut[0]["attachment"]["_url"]["extension"][0]["valueCode"] == "masked"

    play(story, embedded=lambda _: server)


def test_what_was_withheld_is_not_written_over(play: Play) -> None:
    """C79: an app that reads a record and writes it back must not take the hospital's own link out of it."""
    server = signing()
    server.resources["DocumentReference/s3"] = document("s3", "p1", "https://s3.example/secret")

    async def story(made: Ground) -> None:
        token = made.token("patient/DocumentReference.crus")
        read = (await made.get("DocumentReference/s3", token)).json

        answer = await made.send("PUT", "DocumentReference/s3", token, body=read | {"description": "mine"})

        assert answer.status == 400
        assert b"withheld" in answer.body
        assert (
            server.resources["DocumentReference/s3"]["content"][0]["attachment"]["url"]
            == "https://s3.example/secret"
        )

    play(story, embedded=lambda _: server)


def test_what_is_stored_here_with_an_address_elsewhere_is_withheld_too(play: Play) -> None:
    """Security decision 22: at the embedded server as at any other."""

    async def story(made: Ground) -> None:
        made.load(
            document("s3", "p1", "https://s3.example/secret"),
            binary("mine", "x"),
            document("own", "p1", "Binary/mine"),
        )
        token = made.token("patient/DocumentReference.rs")

        for target in ("DocumentReference/s3", "DocumentReference"):
            assert_clean((await made.get(target, token)).body)
        kept = (await made.get("DocumentReference/own", token)).json

        assert kept["content"][0]["attachment"]["url"] == "Binary/mine"

    play(story)


def test_a_name_below_the_servers_host_stays_a_name(play: Play) -> None:
    """An identifier without its system is another identifier."""
    server = OtherServer()
    named = {"identifier": [{"system": "http://upstream.internal/mrn", "value": "7"}]}
    server.load(patient("p1", **named))

    async def story(made: Ground) -> None:
        answer = await made.get("Patient/p1", made.token("patient/Patient.r"))

        assert answer.json["identifier"] == named["identifier"]

    play(story, embedded=lambda _: server)


@pytest.mark.parametrize("status", [400, 404, 409, 412, 422, 500])
def test_no_word_of_the_servers_own_reaches_an_app(play: Play, status: int) -> None:
    """C70: its sentences may hold an internal address or another patient's name. What kind of mistake it was may pass."""
    server = OtherServer()
    server.load(patient("p1"), observation("o1", "p1", code={"text": "x"}))
    issue = {
        "severity": "error",
        "code": "value",
        "details": {"text": f"{CANARY} at 10.0.0.7", "coding": [{"display": CANARY}]},
        "diagnostics": f"{CANARY} jdbc://secret",
        "expression": [
            "Observation.code",
            f"Observation.where(name='{CANARY}')",
            f"Observation.{CANARY.lower()}",
        ],
        "location": [CANARY],
    }
    server.refuses = status, {"resourceType": "OperationOutcome", "issue": [issue], "text": {"div": CANARY}}

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.cruds")
        body = observation("o1", "p1", code={"text": "x"})
        answers = [
            await made.get("Observation?_count=2", token),
            await made.send("POST", "Observation", token, body=body),
            await made.send("PUT", "Observation/o1", token, body=body),
            await made.send("DELETE", "Observation/o1", token),
        ]

        for answer in answers:
            assert answer.status >= 400
            assert CANARY.lower().encode() not in answer.body.lower()
            assert b"10.0.0.7" not in answer.body
            assert b"jdbc" not in answer.body
        if status == 422:
            assert answers[1].json["issue"][0]["code"] == "value"
            assert answers[1].json["issue"][0]["expression"] == ["Observation.code"]

    play(story, embedded=lambda _: server)


DOUBLED = (
    (
        b'{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/p2"},"code":{"text":"SECRET-OF-P2"},'
        b'"subject":{"reference":"Patient/p1"}}'
    ),
    (
        b'{"resourceType":"Observation","id":"o1","meta":{"security":[{"system":"http://terminology.hl7.org/CodeSystem/v3-Confidentiality",'
        b'"code":"R"}]},"subject":{"reference":"Patient/p1"},"code":{"text":"SECRET-OF-P2"},"meta":{}}'
    ),
    b'{"resourceType":"Observation","id":"o1","subject":{"reference":"Patient/p2","refer\\u0065nce":"Patient/p1"},"code":{"text":"SECRET-OF-P2"}}',
    (
        b'{ "resourceType" : "Observation" , "id" : "o1" , "code" : { "text" : "SECRET-OF-P2" , "text" : "\\u0022:" } , '
        b'"subject" : { "reference" : "Patient/p1" } }'
    ),
)


@pytest.mark.parametrize("raw", DOUBLED)
def test_an_answer_that_says_two_things_is_judged_as_what_is_sent(play: Play, raw: bytes) -> None:
    """C74: of a name that stands twice one parser takes the first, another the last."""
    server = OtherServer()
    server.load(patient("p1"))

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rs")
        server.raw = raw
        read = await made.get("Observation/o1", token)
        server.raw = b'{"resourceType":"Bundle","type":"searchset","entry":[{"resource":%s}]}' % raw
        found = await made.get("Observation", token)

        assert read.status == 502 or read.body.count(b'"reference"') == 1
        assert b"Patient/p2" not in read.body
        assert found.body.count(b'"reference"') <= 1

    play(story, embedded=lambda _: server)
