"""The sandbox site by itself: its pages and forms over seeded hospitals, while the platform is away."""

import asyncio
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from hilum.foundation.infra import settings
from hilum_ehr.fhirserver.models import FhirServerSettings
from hilum_ehr.fhirserver.routes import FhirServer
from hilum_ehr.sandbox.app import Sandbox, build
from hilum_ehr.sandbox.clients import plan
from hilum_ehr.sandbox.credentials import FILE_NAME, CredentialsFile
from hilum_ehr.sandbox.ehr.own_apps import APPS_BOUND, OwnApp, OwnApps
from hilum_ehr.sandbox.faults import KINDS
from hilum_ehr.synthesis.hospital import describe, synthesize
from hilum_ehr.synthesis.policy import hospitals
from tests.sim.one_world import in_one_world
from tests.sim.world import FakeClock, SeededIds

ORIGIN = "http://localhost:8001"
SAME_ORIGIN = {"sec-fetch-site": "same-origin", "content-type": "application/x-www-form-urlencoded"}
ROSALIND = "gen-pat-okafor-rosalind"


@dataclass
class Ground:
    """A seeded data folder and the stores in it."""

    folder: Path
    server: FhirServer

    def site(self, **more: str) -> Sandbox:
        given = {
            "HILUM_MODE": "sandbox",
            "HILUM_BASE_URL": "http://127.0.0.1:9",  # nobody listens on the discard port
            "HILUM_SANDBOX_URL": ORIGIN,
            "HILUM_DATA_DIR": str(self.folder),
            "HILUM_SECRET_KEY": "k" * 40,
            **more,
        }
        return build(settings.read(given), FakeClock(), SeededIds(), lambda _tenant: self.server)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    folder = tmp_path_factory.mktemp("sandbox")
    clock, credentials_file = FakeClock(), CredentialsFile()
    today = clock.now().date()
    general = hospitals()[0]
    small = replace(general, size=len(general.notable))
    server = FhirServer(FhirServerSettings(folder / "general.db", f"{ORIGIN}/fhir"), clock, SeededIds())
    server.load(synthesize(small, seed=1, today=today))
    credentials_file.charts["general"] = [asdict(each) for each in describe(small, seed=1, today=today)]
    for _, client in plan(ORIGIN).clients():
        if client.is_keyed:
            credentials_file.make_keys(client.client_id)
    credentials_file.save(folder / FILE_NAME)
    yield Ground(folder, server)
    server.close()


def visit(site: Sandbox, *steps: Any) -> list[httpx2.Response]:
    """Send requests of one browser in order. A step is a path, or (path, form); ``{session}`` is the last redirect's end."""

    async def run() -> list[httpx2.Response]:
        answers: list[httpx2.Response] = []
        transport = httpx2.ASGITransport(app=site.app)
        async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN) as http:
            place = csrf = ""
            for step in steps:
                path, form = step if isinstance(step, tuple) else (step, None)
                path = path.format(session=place)
                if form is None:
                    answer = await http.get(path)
                else:
                    answer = await http.post(path, data={"csrf": csrf} | form, headers=SAME_ORIGIN)
                found = re.search(r'name="csrf" value="([^"]+)"', answer.text)
                csrf = found[1] if found else csrf
                place = answer.headers.get("location", place)
                answers.append(answer)
        await site.close()
        return answers

    return asyncio.run(run())


OPEN = ("/sandbox/sessions", {"tenant": "general", "person": "dr.adeyemi", "patient": ROSALIND})


def test_a_chart_is_opened_and_shows_who_it_is_about(ground: Ground) -> None:
    answers = visit(ground.site(), "/sandbox/h/general", OPEN, "{session}")

    chart = answers[-1]
    assert [each.status_code for each in answers] == [200, 303, 200]
    assert re.search(r"Medications</h2>.*>Medication<", chart.text, re.DOTALL) is None
    for words in (
        "Rosalind Ngozi Okafor",
        "Diabetes mellitus type 2",
        "Blood pressure",
        "Lumen Chart",
        "Folake Adeyemi",
    ):
        assert words in chart.text
    assert "<svg" in chart.text


def test_a_form_without_the_token_of_this_browser_opens_nothing(ground: Ground) -> None:
    (answer,) = visit(ground.site(), OPEN)

    assert answer.status_code == 403


@in_one_world(
    ("form", "status"),
    [
        ({"tenant": "nowhere"}, 404),
        ({"person": "nobody"}, 404),
        ({"patient": "gen-pat-nobody"}, 404),
        ({"patient": ""}, 404),
        ({"person": "amara.osei"}, 404),
    ],
)
def test_nobody_opens_a_chart_that_is_not_there_or_not_theirs(
    ground: Ground, form: dict[str, str], status: int
) -> None:
    """A patient opens their own chart and those they act for."""
    answers = visit(ground.site(), "/sandbox/h/general", (OPEN[0], OPEN[1] | form))

    assert answers[-1].status_code == status


def test_a_patient_sees_their_own_charts_only(ground: Ground) -> None:
    (own, proxy) = visit(
        ground.site(), "/sandbox/h/general?person=amara.osei", "/sandbox/h/general?person=maria.santos"
    )

    assert re.findall(r'name="patient" value="([^"]+)"', own.text) == ["gen-pat-osei-amara"]
    assert len(re.findall(r'name="patient" value="([^"]+)"', proxy.text)) == 3


def test_a_patient_is_found_by_name_or_story(ground: Ground) -> None:
    (found, nobody) = visit(ground.site(), "/sandbox/h/general?q=HbA1c", "/sandbox/h/general?q=%3Cscript%3E")

    assert ROSALIND in found.text
    assert "No such patient" in nobody.text
    assert "<script>" not in nobody.text


@in_one_world(
    ("path", "status"),
    [
        ("/sandbox/h/nowhere", 404),
        ("/sandbox/h/general?person=nobody", 404),
        ("/sandbox/h/general?person=a&person=b", 422),
        ("/sandbox/sessions/none", 404),
        ("/sandbox/sessions/none/apps/lumen-chart", 404),
        ("/sandbox/launch?tenant=nowhere&client=x", 404),
        ("/sandbox/launch?tenant=general", 400),
        ("/sandbox/launch?tenant=general&client=x&tenant=children", 422),
        ("/sandbox/launch?tenant=general&client=x&redirect=evil", 400),
        ("/sandbox/launch?session=none&client=x", 404),
        ("/sandbox/launch?%ff", 400),
        ("/nowhere", 404),
        ("/apps/nothing", 404),
    ],
)
def test_a_wrong_address_is_answered_by_a_page_that_says_so(ground: Ground, path: str, status: int) -> None:
    (answer,) = visit(ground.site(), path)

    assert answer.status_code == status
    assert "What to do next." in answer.text


def test_when_the_platform_is_away_a_launch_says_so_where_the_app_would_be(ground: Ground) -> None:
    query = "tenant=general&client=lumen-chart&person=dr.adeyemi&patient=" + ROSALIND
    (answer,) = visit(ground.site(), f"/sandbox/launch?{query}")

    assert answer.status_code == 503
    assert "The platform does not answer." in answer.text
    assert "frame-ancestors 'self'" in answer.headers["content-security-policy"]


def test_a_page_with_an_app_lets_only_apps_be_framed(ground: Ground) -> None:
    answers = visit(ground.site(), "/sandbox/h/general", OPEN, "{session}/apps/lumen-chart")
    policy = answers[-1].headers["content-security-policy"]

    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "frame-src 'self' http://127.0.0.1:9 https:" in policy


def test_moving_to_another_patient_and_back_keeps_the_session(ground: Ground) -> None:
    answers = visit(
        ground.site(),
        "/sandbox/h/general",
        OPEN,
        "{session}",
        ("{session}/move", {"patient": "gen-pat-osei-amara", "encounter": "whatever"}),
        "{session}",
    )

    assert answers[3].status_code == 303
    assert "Amara Osei" in answers[4].text


def test_an_encounter_of_somebody_else_cannot_be_chosen(ground: Ground) -> None:
    answers = visit(
        ground.site(),
        "/sandbox/h/general",
        OPEN,
        "{session}",
        ("{session}/move", {"patient": ROSALIND, "encounter": "gen-osei-amara-enc-1"}),
    )

    assert answers[-1].status_code == 404


def test_a_person_who_may_not_open_the_chart_is_sent_to_choose_another(ground: Ground) -> None:
    answers = visit(
        ground.site(), "/sandbox/h/general", OPEN, "{session}", ("{session}/person", {"person": "amara.osei"})
    )

    assert answers[-1].headers["location"] == "/sandbox/h/general?person=amara.osei"


def test_the_inspectors_list_is_not_sent_twice(ground: Ground) -> None:
    async def run() -> tuple[int, int]:
        site = ground.site()
        transport = httpx2.ASGITransport(app=site.app)
        async with httpx2.AsyncClient(transport=transport, base_url=ORIGIN) as http:
            page = await http.get("/sandbox/h/general")
            csrf = re.search(r'name="csrf" value="([^"]+)"', page.text)
            assert csrf is not None
            opened = await http.post(OPEN[0], data=OPEN[1] | {"csrf": csrf[1]}, headers=SAME_ORIGIN)
            address = f"{opened.headers['location']}/apps/lumen-chart/calls/list"
            first = await http.get(address)
            second = await http.get(address, headers={"if-none-match": first.headers["etag"]})
        await site.close()
        return first.status_code, second.status_code

    assert asyncio.run(run()) == (200, 304)


class _Ready(BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        self.send_response(self.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def platform_saying(status: int) -> Iterator[str]:
    """A platform of which no more is there than what it says of its readiness."""
    handler = type("Handler", (_Ready,), {"status": status})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_the_card_is_for_any_script(ground: Ground) -> None:
    with platform_saying(200) as base:
        (answer,) = visit(ground.site(HILUM_BASE_URL=base), "/sandbox/card.json")

    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["sandbox_url"] == ORIGIN


def test_the_card_waits_for_the_platform(ground: Ground) -> None:
    """contract, Sandbox card: whoever reads the card goes on to use what it lists."""
    (away,) = visit(ground.site(), "/sandbox/card.json")
    with platform_saying(503) as base:
        (starting,) = visit(ground.site(HILUM_BASE_URL=base), "/sandbox/card.json")

    for answer in (away, starting):
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert "people" not in answer.json()


def test_a_public_sandbox_shows_no_password_and_registers_nobody(ground: Ground) -> None:
    """contract, Modes: HILUM_SANDBOX_PUBLIC=1."""
    with platform_saying(200) as base:
        card, accounts, own = visit(
            ground.site(HILUM_SANDBOX_PUBLIC="1", HILUM_BASE_URL=base),
            "/sandbox/card.json",
            "/sandbox/accounts",
            "/sandbox/h/general/own",
        )

    for each in (card, accounts, own):
        assert "sandbox-dr.adeyemi" not in each.text
        assert '"d":' not in each.text
    assert "withheld" in accounts.text
    assert "registers no clients" in own.text


def test_a_sandbox_that_was_not_seeded_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="hilum sandbox seed"):
        CredentialsFile.load(tmp_path / FILE_NAME)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"unknown": 1}'])
def test_a_broken_credentials_file_is_not_taken(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)

    with pytest.raises(Exception, match="sandbox_not_seeded"):
        CredentialsFile.load(tmp_path / FILE_NAME)


def test_the_credentials_file_is_its_owners_only_and_comes_back_as_it_was(tmp_path: Path) -> None:
    kept = CredentialsFile(client_secrets={"a": "b"}, api_tokens={"c": "d"})

    kept.save(tmp_path / FILE_NAME)

    assert CredentialsFile.load(tmp_path / FILE_NAME) == kept
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    "path", ["/apps/lumen", "/apps/lumen/launch", "/apps/lumen/app", "/apps/wellspring/app"]
)
def test_a_sample_app_speaks_to_the_platform_only(ground: Ground, path: str) -> None:
    (answer,) = visit(ground.site(), path)
    policy = answer.headers["content-security-policy"]

    assert "connect-src 'self' http://127.0.0.1:9;" in policy
    assert "script-src 'self';" in policy
    assert "'unsafe" not in policy


OWN = "/sandbox/h/general/own"
MINE = {
    "client": "mine-1",
    "person": "dr.adeyemi",
    "patient": ROSALIND,
    "launch_uri": "http://127.0.0.1:3000/launch",
}


def test_a_developers_own_app_opens_inside_the_chart_and_is_listed_there(ground: Ground) -> None:
    """C204."""
    _, opened, page, _, chart = visit(
        ground.site(), OWN, (f"{OWN}/open", MINE | {"where": "chart"}), "{session}", OPEN, "{session}"
    )

    assert opened.headers["location"].endswith("/apps/mine-1")
    assert "client=mine-1" in re.findall(r'<iframe src="([^"]+)"', page.text)[0]
    assert "/apps/mine-1" in chart.text


class _Listing(BaseHTTPRequestHandler):
    """A platform that lists what is installed, and names a client that is asked for by its id."""

    def do_POST(self) -> None:
        self._answer({"access_token": "hil_at_x", "expires_in": 3600})

    def do_GET(self) -> None:
        asked = parse_qs(urlsplit(self.path).query).get("client_id", [])
        names = {"bench-public": "Testbench", "cli_note": "Note Writer"} if not asked else {}
        names |= {client: "My Own App" for client in asked if client == "mine-1"}
        items = [
            {"client_id": client, "name": name, "description": "", "open": client != "cli_note"}
            | {"reason": "", "detail": "It is stopped. Ask the hospital.", "logo": ""}
            for client, name in names.items()
        ]
        self._answer({"items": items})

    def _answer(self, answer: Any) -> None:
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_chart_lists_what_is_installed_by_its_name_and_with_the_reason_of_a_stop(ground: Ground) -> None:
    """C140: an app that a hospital installed is in its chart without a change of the EHR; one's own app has its name too."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Listing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        site = ground.site(HILUM_BASE_URL=f"http://127.0.0.1:{server.server_port}")
        steps = (OWN, (f"{OWN}/open", MINE | {"where": "chart"}), "{session}", "{session}/calls")
        *_, page, calls = visit(site, *steps)
        site = ground.site(HILUM_BASE_URL=f"http://127.0.0.1:{server.server_port}")
        *_, chart = visit(site, "/sandbox/h/general", OPEN, "{session}")
        server.shutdown()

    assert "Calls of My Own App" in page.text
    assert "Calls of My Own App" in calls.text
    assert "Note Writer" in chart.text
    assert "It is stopped. Ask the hospital." in chart.text
    assert "Testbench" not in chart.text, "its clients are for scripts"


def test_ones_own_app_is_listed_for_ones_own_browser_and_hospital_only() -> None:
    chosen = OwnApps()
    for n in range(APPS_BOUND + 5):
        chosen.keep("one", OwnApp("general", f"c{n}", ""))
    chosen.keep("one", OwnApp("clinic", "c", ""))
    chosen.keep("other", OwnApp("general", "theirs", "Theirs"))
    chosen.keep("other", OwnApp("general", "theirs", "", "http://127.0.0.1/launch"))

    assert len(chosen.at("one", "general")) == APPS_BOUND - 1
    assert chosen.find("one", "general", "theirs") is None
    assert chosen.at("other", "general") == (
        OwnApp("general", "theirs", "Theirs", "http://127.0.0.1/launch"),
    )


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"client": ""}, 422),
        ({"client": "../../x"}, 422),
        ({"person": "nobody"}, 404),
        ({"patient": "x"}, 404),
    ],
)
def test_an_own_app_that_cannot_be_opened_is_answered_by_a_page(
    ground: Ground, change: dict[str, str], status: int
) -> None:
    *_, refused = visit(ground.site(), OWN, (f"{OWN}/open", MINE | {"where": "chart"} | change))

    assert refused.status_code == status


def test_what_was_typed_is_sent_to_the_launch_in_a_new_tab(ground: Ground) -> None:
    *_, sent = visit(ground.site(), OWN, (f"{OWN}/open", MINE | {"where": "tab", "placement": "sidebar"}))

    assert sent.headers["location"].startswith("/sandbox/launch?tenant=general&client=mine-1&")
    assert "csrf" not in sent.headers["location"]


def test_a_chart_offers_what_can_fail_shows_what_does_and_ends_it(ground: Ground) -> None:
    """C122: in words, without script; what is not offered is not made."""
    fail = "{session}/fail"

    answers = visit(
        ground.site(),
        "/sandbox/h/general",
        OPEN,
        "{session}",
        (fail, {"kind": "short_pages", "client": "*", "act": "make", "tab": "chart"}),
        "{session}",
        (fail, {"kind": "short_pages", "client": "*", "act": "end", "tab": "chart"}),
        "{session}",
        (fail, {"kind": "earthquake", "client": "*", "act": "make"}),
    )
    pages = [each.text for each in answers]

    assert all(words in pages[2] for words in KINDS.values())
    assert "Nothing fails now." in pages[2]
    assert [each.status_code for each in answers[3:]] == [303, 200, 303, 200, 404]
    assert "For every app that is opened here, about this patient, until 09:03:00 UTC." in pages[4]
    assert "Nothing fails now." in pages[6]
