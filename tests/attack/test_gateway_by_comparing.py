"""Two answers side by side must not tell what neither says: pages, totals, refusals; nor may a label be got round."""

from typing import Any

import pytest

from tests.attack.pointing_ground import CANARY, binary, comparable, document, recorded
from tests.flows.gateway_ground import Ground, Play, patient
from tests.sim.fhir_upstream import OtherServer
from tests.sim.one_world import in_one_world
from tests.unit.gateway.enforcement.facts import RESTRICTED, category, observation

LABORATORY = "http://terminology.hl7.org/CodeSystem/observation-category|laboratory"


class ShortPages(OtherServer):
    """A server that gives shorter pages than it is asked for, as R4 lets it."""

    def _bundle(self, found: list[dict[str, Any]], size: int) -> dict[str, Any]:
        return super()._bundle(found, min(size, 2))


# --- pages: one that is full and leads to an empty one would say that something was withheld there -----------------------------


@in_one_world(
    ("there", "absent"),
    [
        ("_id=o1,o3", "_id=o1,nothing"),
        ("_id=o1,o3&_sort=-_id", "_id=o1,nothing&_sort=-_id"),
        ("_id=o1,o3&_security=R,N", "_id=o1,nothing&_security=R,N"),
        ("_id=o1,o2,o3&code:missing=false", "_id=o1,o2,nothing&code:missing=false"),
    ],
)
@in_one_world("count", [1, 2])
def test_a_full_page_does_not_tell_that_a_withheld_record_follows(
    play: Play, there: str, absent: str, count: int
) -> None:
    """C75, C82: with a filter over what the record says, its very content could be asked for, code by code."""

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rs")

        withheld = await made.get(f"Observation?{there}&_count={count}", token)
        nothing = await made.get(f"Observation?{absent}&_count={count}", token)

        assert withheld.status == 200
        assert comparable(withheld) == comparable(nothing)

    play(story)


def test_a_full_page_does_not_tell_of_another_patients_record_outside_a_narrower_scope(play: Play) -> None:
    """C75, C76: beside a granular user scope a search cannot be narrowed before it leaves, so every page of it is judged."""

    async def story(made: Ground) -> None:
        made.load(patient("p2"), observation("y2", "p2", category=category("survey"), code={"text": CANARY}))
        token = made.token("patient/Observation.rs", f"user/Observation.rs?category={LABORATORY}")

        beyond = await made.get("Observation?_id=o1,y2&_count=1", token)
        nothing = await made.get("Observation?_id=o1,nothing&_count=1", token)

        assert beyond.ids == ["Observation/o1"]
        assert comparable(beyond) == comparable(nothing)

    play(story)


def test_a_full_page_does_not_tell_of_a_provenance_that_is_about_somebody_else_too(play: Play) -> None:
    """C75: pr2 is about an Observation of p2 as well."""

    async def story(made: Ground) -> None:
        token = made.token("patient/*.rs")

        answer = await made.get("Provenance?target=Observation/o1&_count=1", token)

        assert answer.ids == ["Provenance/pr1"]
        assert answer.link("next") is None

    play(story)


def test_short_pages_of_a_server_tell_no_more_than_long_ones(play: Play) -> None:
    """C75: the gateway fills its page from them, and looks at what follows."""
    server = ShortPages()
    server.load(
        *(observation(f"a{n}", code={"text": "mine"}) for n in range(4)),
        *(observation(f"b{n}", code={"text": CANARY}, meta=RESTRICTED) for n in range(4)),
    )

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.rs")

        for count in (2, 3, 4, 5):
            found: list[str] = []
            page: str | None = f"Observation?_count={count}"
            while page is not None:
                answer = await made.get(page, token)
                assert answer.ids, "a page that is led to holds something"
                found += answer.ids
                page = answer.link("next")
            assert found == [f"Observation/a{n}" for n in range(4)]

    play(story, embedded=lambda _tenant: server)


@in_one_world("hidden", [(), (0, 3, 4), (5,), tuple(range(6))])
@in_one_world("count", [1, 2, 3, 10])
def test_pages_give_every_visible_record_once_and_whole_pages(
    play: Play, hidden: tuple[int, ...], count: int
) -> None:
    """C74, C78: wherever the withheld ones lie."""

    async def story(made: Ground) -> None:
        labels: list[dict[str, Any]] = [{"meta": RESTRICTED} if n in hidden else {} for n in range(6)]
        made.load(*(observation(f"s{n}", code={"text": "s"}, **label) for n, label in enumerate(labels)))
        token = made.token("patient/Observation.rs")
        expected = [f"Observation/s{n}" for n in range(6) if n not in hidden]
        sizes: list[int] = []
        found: list[str] = []
        page: str | None = f"Observation?_id=s0,s1,s2,s3,s4,s5&_sort=_id&_count={count}"
        while page is not None:
            answer = await made.get(page, token)
            sizes.append(len(answer.ids))
            found += answer.ids
            page = answer.link("next")

        assert found == expected
        assert sizes == [len(expected[n : n + count]) for n in range(0, len(expected), count)] or sizes == [0]

    play(story)


# --- totals --------------------------------------------------------------------------------------------------------------------


def test_a_total_does_not_come_and_go_with_what_was_brought_along(play: Play) -> None:
    """C75, C76: whoever writes a reference to a guessed id would learn whether there is such a record."""
    server = OtherServer()
    server.load(
        patient("p1"),
        patient("p2"),
        *(observation(f"o{n}", code={"text": "mine"}) for n in range(3)),
    )

    async def story(made: Ground) -> None:
        token = made.token("patient/Observation.crs", person="patient")

        first = await made.get("Observation?_count=1", token)
        server.resources.pop("Patient/p1")
        second = await made.get("Observation?_count=1", token)

        assert "Patient/p1" not in first.ids, "this server brings subjects along unasked"
        assert "total" not in first.json, "what this server counts was not all judged"
        assert "total" not in second.json
        assert (await made.get("Observation", token)).json["total"] == 3

    play(story, embedded=lambda _tenant: server)


# --- Binaries ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["patient/Media.rs", "patient/Consent.r", "patient/DocumentReference.rs"])
def test_a_binary_that_nothing_within_reach_refers_to_is_as_if_absent(play: Play, scope: str) -> None:
    """C75: also to a scope under which no document is looked for."""

    async def story(made: Ground) -> None:
        made.load(patient("p2"), binary("b2", CANARY), document("d2", "p2", "Binary/b2"))
        token = made.token(scope)

        there, absent = await made.get("Binary/b2", token), await made.get("Binary/nothing", token)

        assert there.status == 404
        assert comparable(there).replace("req_000001", "") == comparable(absent).replace("req_000002", "")

    play(story)


@pytest.mark.parametrize("person", ["doctor", "parent", "patient"])
def test_a_restricted_binary_is_withheld_though_its_document_is_not(play: Play, person: str) -> None:
    """C82: a label on what is attached withholds it; the person whose own record it is may read it."""

    async def story(made: Ground) -> None:
        made.load(binary("secret", CANARY) | {"meta": RESTRICTED}, document("open", "p1", "Binary/secret"))
        token = made.token("patient/DocumentReference.rs", person=person)

        answer = await made.get("Binary/secret", token)

        assert answer.status == (200 if person == "patient" else 404)
        assert (CANARY.encode() in answer.body) == (person == "patient")
        assert recorded(made).reason == ("" if person == "patient" else "label_withheld")

    play(story)


@pytest.mark.parametrize("person", ["doctor", "parent", "patient"])
def test_a_document_labelled_as_restricted_is_withheld_with_what_it_carries(play: Play, person: str) -> None:
    """C82: the label of a document stands in its securityLabel; that of the pointer to it in meta."""
    label = {"securityLabel": [{"coding": RESTRICTED["security"]}], "description": CANARY}

    async def story(made: Ground) -> None:
        made.load(binary("secret", CANARY), document("labelled", "p1", "Binary/secret") | label)
        token = made.token("patient/DocumentReference.rs", person=person)

        answers = [
            await made.get(target, token)
            for target in ("DocumentReference/labelled", "Binary/secret", "DocumentReference")
        ]

        assert [each.status for each in answers] == ([200] * 3 if person == "patient" else [404, 404, 200])
        assert any(CANARY.encode() in each.body for each in answers) == (person == "patient")

    play(story)


# --- writes --------------------------------------------------------------------------------------------------------------------


def test_no_app_takes_the_label_off_a_record_though_it_may_read_it(play: Play) -> None:
    """C79, C82: one person's app could open to every other app what a label withholds from them."""
    visit = {
        "resourceType": "Appointment",
        "id": "visit",
        "status": "booked",
        "participant": [{"actor": {"reference": "Patient/p1"}, "status": "accepted"}],
    }

    async def story(made: Ground) -> None:
        made.load(visit | {"meta": RESTRICTED}, visit | {"id": "open"})
        token = made.token("patient/Appointment.crus", person="patient")

        assert (await made.send("PUT", "Appointment/visit", token, body=visit)).status == 404
        read = await made.get("Appointment/visit", token)
        assert read.status == 200
        assert read.json["meta"]["security"] == RESTRICTED["security"]
        assert (await made.send("PUT", "Appointment/open", token, body=visit | {"id": "open"})).status == 200

    play(story)


def test_a_grant_for_one_patient_creates_no_other(play: Play) -> None:
    """C68, FHIR R4 http.html#create: the id of a body says nothing in a create, so it makes nobody's chart the launched one."""

    async def story(made: Ground) -> None:
        narrow, wide = made.token("patient/Patient.cruds"), made.token("user/Patient.cruds")

        for body in (patient("p1"), {"resourceType": "Patient"}):
            assert (await made.send("POST", "Patient", narrow, body=body)).status == 404
        assert (await made.send("POST", "Patient", wide, body=patient("p1"))).status == 201

    play(story)


# --- a person with no charts ---------------------------------------------------------------------------------------------------


def test_a_person_who_may_open_no_chart_searches_nothing(play: Play) -> None:
    """C82: an empty filter is one that many servers do not look at."""
    server = OtherServer(careless=True)
    server.load(patient("p2"), observation("x1", "p2", code={"text": CANARY}))

    async def story(made: Ground) -> None:
        token = made.token("user/*.rs", person="patient", person_patients=())

        for target in ("Observation", "Observation?_id=x1", "Observation?patient=p2", "Patient?_id=p2"):
            assert (await made.get(target, token)).status == 404

        assert server.seen == []

    play(story, embedded=lambda _tenant: server)
