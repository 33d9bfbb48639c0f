"""What an app may write or name must not show it what it may not see: pointers, pages, and what the record keeps of it."""

from urllib.parse import unquote

import pytest

from hilum.gateway.enforcement.models import REFILL_BOUND
from tests.attack.pointing_ground import CANARY, binary, comparable, document, recorded
from tests.flows.gateway_ground import PLATFORM, Ground, Play, patient
from tests.sim.one_world import in_one_world
from tests.unit.gateway.enforcement.facts import RESTRICTED, observation, provenance

FORM = {"content-type": "application/x-www-form-urlencoded"}
MANY = REFILL_BOUND + 4
"""More than an answer is gathered from in pages of one."""


# --- a Binary by pointing at it ------------------------------------------------------------------------------------------------


@in_one_world(
    "url",
    [
        "Binary/b2",
        "Binary/b2/_history/1",
        f"{PLATFORM}/t/general/fhir/Binary/b2",
        f"{PLATFORM}/t/general/fhir/Binary/b2/_history/1",
        "Binary/nothing",
    ],
)
@in_one_world("scope", ["patient/DocumentReference.crus", "user/DocumentReference.crus"])
def test_nobody_reaches_a_binary_by_writing_a_document_that_points_at_it(
    play: Play, url: str, scope: str
) -> None:
    """C73, Binary or attachment: a Binary is reached through what refers to it, so whoever may write the pointer could read anybody's."""

    async def story(made: Ground) -> None:
        made.load(patient("p2"), binary("b2", CANARY), document("d1", "p1"))
        token = made.token(scope)

        made_new = await made.send("POST", "DocumentReference", token, body=document("new", "p1", url))
        changed = await made.send("PUT", "DocumentReference/d1", token, body=document("d1", "p1", url))
        read = await made.get("Binary/b2", token)

        assert (made_new.status, changed.status, read.status) == (400, 400, 404)
        assert CANARY.encode() not in read.body
        assert recorded(made).status == 404

    play(story)


def test_a_pointer_to_an_absent_binary_is_refused_as_one_to_somebody_elses(play: Play) -> None:
    """C75: the refusal does not tell whether there is such a Binary."""

    async def story(made: Ground) -> None:
        made.load(binary("b2", CANARY))
        token = made.token("patient/DocumentReference.crus")

        there = await made.send("POST", "DocumentReference", token, body=document("n", "p1", "Binary/b2"))
        absent = await made.send("POST", "DocumentReference", token, body=document("n", "p1", "Binary/b9"))

        assert comparable(there).replace("req_000001", "") == comparable(absent).replace("req_000002", "")

    play(story)


def test_somebody_elses_document_stays_absent_whatever_it_would_point_at(play: Play) -> None:
    """C75: reach is judged first."""

    async def story(made: Ground) -> None:
        made.load(patient("p2"), document("d2", "p2"))
        token = made.token("patient/DocumentReference.crus")

        for id_ in ("d2", "nothing"):
            body = document(id_, "p1", "Binary/b2")
            assert (await made.send("PUT", f"DocumentReference/{id_}", token, body=body)).status == 404

    play(story)


def test_a_document_keeps_the_binary_that_it_had_and_carries_data_of_its_own(play: Play) -> None:
    """C73: what was within reach stays so; data inline is nobody else's."""

    async def story(made: Ground) -> None:
        made.load(binary("b1", "mine"), document("d1", "p1", "Binary/b1"))
        token = made.token("patient/DocumentReference.crus")
        kept = document("d1", "p1", "Binary/b1") | {"description": "read again"}
        inline = document("new", "p1")

        assert (await made.send("PUT", "DocumentReference/d1", token, body=kept)).status == 200
        assert (await made.send("POST", "DocumentReference", token, body=inline)).status == 201
        assert (await made.get("Binary/b1", token)).body == b"mine"

    play(story)


# --- counting by pages ---------------------------------------------------------------------------------------------------------


@in_one_world(
    ("there", "absent"),
    [
        ("target=Observation/x1", "target=Observation/nothing"),
        ("target:Observation=x1", "target:Observation=nothing"),
        ("target=Patient/p2", "target=Patient/nothing"),
        ("target=Observation/o3", "target=Observation/nothing"),
        ("patient=p2", "patient=nothing"),
        ("patient=Patient/p2", "patient=Patient/nothing"),
        ("target=Observation/o1,Observation/x1", "target=Observation/o1,Observation/nothing"),
        ("target=Observation/o1&target=Observation/x1", "target=Observation/o1&target=Observation/nothing"),
    ],
)
def test_the_pages_of_a_search_for_provenance_disclose_nothing_of_what_is_out_of_reach(
    play: Play, there: str, absent: str
) -> None:
    """C75, C76: a next page that would hold nothing says that there is something."""

    async def story(made: Ground) -> None:
        made.load(patient("p2"), observation("x1", "p2", code={"text": CANARY}))
        made.load(*(provenance(f"v{n}", "Observation/x1", "Patient/p2") for n in range(MANY)))
        made.load(*(provenance(f"w{n}", "Observation/o3") for n in range(MANY)))
        token = made.token("patient/*.rs")

        first = await made.get(f"Provenance?{there}&_count=1", token)
        second = await made.get(f"Provenance?{absent}&_count=1", token)

        assert first.status == 200
        assert comparable(first) == comparable(second)
        assert first.link("next") is None

    play(story)


def test_a_search_for_provenance_finds_what_is_within_reach_page_by_page(play: Play) -> None:
    """C74: narrowing takes nothing away that may be seen."""

    async def story(made: Ground) -> None:
        made.load(observation("mine", "p1", code={"text": "mine"}))
        made.load(*(provenance(f"own{n}", "Observation/mine") for n in range(3)))
        token = made.token("patient/*.rs")
        found: list[str] = []
        page: str | None = "Provenance?target=Observation/mine,Observation/x1&_count=2"
        while page is not None:
            answer = await made.get(page, token)
            found += answer.ids
            page = answer.link("next")

        assert sorted(found) == [f"Provenance/own{n}" for n in range(3)]

    play(story)


@pytest.mark.parametrize("filter_", ["target:missing=false", "target:identifier=a|b", "recorded=gt2000"])
def test_a_search_for_provenance_that_names_no_target_is_refused_to_a_limited_grant(
    play: Play, filter_: str
) -> None:
    """C76: it would have to look through everybody's."""

    async def story(made: Ground) -> None:
        answer = await made.get(f"Provenance?{filter_}", made.token("patient/*.rs"))

        assert answer.status == 403
        assert b"too_costly" in answer.body

    play(story)


def test_small_pages_do_not_tell_that_records_are_withheld_by_label(play: Play) -> None:
    """C75, C82: an empty page with a next one would say that something there is restricted."""

    async def story(made: Ground) -> None:
        made.load(*(observation(f"r{n}", "p1", meta=RESTRICTED, code={"text": CANARY}) for n in range(MANY)))
        token = made.token("patient/Observation.rs")
        ids = ",".join(f"r{n}" for n in range(MANY))
        absent = ",".join(f"s{n}" for n in range(MANY))

        withheld = await made.get(f"Observation?_id={ids}&_count=1", token)
        nothing = await made.get(f"Observation?_id={absent}&_count=1", token)

        assert withheld.ids == []
        assert comparable(withheld) == comparable(nothing)

    play(story)


# --- what the record keeps -----------------------------------------------------------------------------------------------------


def test_a_search_by_post_is_recorded_as_what_it_asked(play: Play) -> None:
    """C150: the record says what was looked for, whichever way it was sent."""

    async def story(made: Ground) -> None:
        token = made.token("user/Patient.rs")

        await made.send("POST", "Patient/_search?_count=5", token, body=b"name=Familyp2", headers=FORM)

        assert recorded(made).query == "_count=5&name=Familyp2"

    play(story)


def test_what_was_asked_is_not_hidden_behind_much_else(play: Play) -> None:
    """C150: as long as it may be, it is kept whole."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rs")
        padding = "&".join(f"code={'x' * 1_900}" for _ in range(4))

        answer = await made.get(f"Observation?{padding}&patient=p2", token)

        assert answer.status == 404
        assert recorded(made).query.endswith("&patient=p2")

    play(story)


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_token_in_the_wrong_place_does_not_come_to_stand_in_the_record(play: Play, method: str) -> None:
    """C9, C153, RFC 6750 section 2.3: whoever reads the record would hold a live token."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Patient.rs")
        asked = f"access_token={token}&name=x"

        if method == "GET":
            answer = await made.get(f"Patient?{asked}", token)
        else:
            answer = await made.send("POST", "Patient/_search", token, body=asked.encode(), headers=FORM)
        kept = recorded(made)
        await made.get(f"Patient/{token}", token)

        assert answer.status == 400
        assert kept.query == "access_token=hil_at_...&name=x"
        assert token not in repr(recorded(made))

    play(story)


@in_one_world("place", ["query", "form", "path"])
@in_one_world("depth", [1, 2, 3])
def test_an_encoded_token_does_not_come_to_stand_in_the_record(play: Play, place: str, depth: int) -> None:
    """C153: whoever decodes what they read would hold a live token."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Patient.rs")
        encoded = "".join(f"%{ord(each):02x}" for each in token)
        for _ in range(depth - 1):
            encoded = encoded.replace("%", "%25")

        if place == "query":
            await made.get(f"Patient?name=x&_tag={encoded}", token)
        elif place == "form":
            body = f"name=x&_tag={encoded}".encode()
            await made.send("POST", "Patient/_search", token, body=body, headers=FORM)
        else:
            await made.get(f"Patient/{encoded}", token)
        kept = repr(recorded(made))
        for _ in range(depth):
            kept = unquote(kept)

        assert token not in kept
        assert token[7:40] not in kept

    play(story)


def test_a_refused_try_on_a_patient_is_found_among_what_was_tried_on_them(play: Play) -> None:
    """C150: who reached for a record and was refused matters as much as who got it."""

    async def story(made: Ground) -> None:
        made.load(patient("p2"))

        await made.get("Patient/p2", made.token("patient/Patient.rs"))

        kept = recorded(made)
        assert (kept.patient, kept.outcome.value, kept.reason) == ("p2", "refused", "outside_launch_context")

    play(story)


def test_a_strangers_guess_is_not_recorded_as_a_patients_affair(play: Play) -> None:
    """C150: what nobody known asked for is about nobody known."""

    async def story(made: Ground) -> None:
        await made.get("Patient/p2", "hil_at_" + "x" * 43 + "_" + "y" * 8)

        assert recorded(made).patient == ""

    play(story)
