"""The pages that patients and clinicians meet, in Spanish (C87)."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from hilum.controls.switches.models import Mode, TargetKind
from hilum.foundation.web.pages import PageDefaults
from tests.flows.authorize_flow import STANDALONE, Browser, Front, answer, front, shared_pages
from tests.flows.token_flow import MERCY
from tests.sim.browser import form_with
from tests.sim.one_world import in_one_world

__all__ = ["front"]

MANAGE = f"/t/{MERCY}/oauth/manage"
SIGNIN = f"/t/{MERCY}/signin"
ONE_RECORD = (
    "launch/patient openid offline_access patient/Patient.rs patient/Condition.rs patient/Observation.crs"
)
SAME_IN_ALL = re.compile(
    r"[^a-zA-Z]*|.*Mercy.*|Hilum|(\d\. )?web|CSV|JSON|Acme.*|[a-z]+\.example|.*:|Pat|Dora.*|Gus|To be tested"
)


class _Texts(HTMLParser):
    """The texts that somebody sees or hears, one after the other."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        # Each language calls itself by its own name.
        self._skipped = tag in {"code", "style"} or (tag == "a" and dict(attrs).get("hreflang") == "es")
        self.found += [value for name, value in attrs if name in {"aria-label", "placeholder"} and value]

    def handle_endtag(self, tag: str) -> None:
        self._skipped = False

    def handle_data(self, data: str) -> None:
        if (text := " ".join(data.split())) and not self._skipped:
            self.found.append(text)

    _skipped = False


def speaking(front: Front, header: str, person: str = "") -> Browser:
    return front.browser(person, **{"accept-language": header})


def language(response: Any) -> str:
    """Return the language of a page; it says the same in its header and its root."""
    found = re.search(r'<html lang="([a-z]+)">', response.text)
    assert found is not None
    assert response.headers["content-language"] == found[1]
    return found[1]


def test_the_consent_page_names_everything_in_the_language_asked_for(front: Front) -> None:
    """C87: app, vendor, verified status, purpose, duration and each permission; OpenID Connect Core 1.0 section 3.1.2.1."""
    browser = speaking(front, "en", "pat")

    page = browser.authorize(scope=ONE_RECORD, ui_locales="fr es-US en")

    assert language(page) == "es"
    assert "accept-language" in page.headers["vary"]
    for words in (
        "¿Compartir su expediente con web?",
        "Creada por",
        "Acme Health",
        "Certificada hasta el",
        "Para qué",
        "Hasta que usted la quite, aunque no la esté usando. Termina después de",
        "Ver datos personales",
        "Ver y agregar mediciones y hallazgos",
        "Signos vitales",
        "Ver problemas de salud",
        "La lista de problemas",
        "Mantener el acceso cuando usted no está",
        "Todo lo que pide la aplicación está marcado.",
        "modifica el expediente",
        "Permitir",
        "Rechazar",
    ):
        assert words in page.text, words
    assert language(speaking(front, "es", "pat").authorize(scope=ONE_RECORD, ui_locales="en")) == "en"


def test_what_an_app_asks_for_holds_on_its_way_only(front: Front) -> None:
    """From its request to the answer, through sign-in; the person's own choice is not changed by it."""
    browser = speaking(front, "en")
    assert language(browser.authorize(scope=ONE_RECORD, ui_locales="es")) == "es"
    assert language(browser.sign_in("pat")) == "es"
    assert language(browser.follow(browser.http.get(MANAGE))) == "en"

    assert language(browser.authorize(scope=ONE_RECORD)) == "en"
    for tampered in ("x" * 2000, "<script>", "\x7f es;", "%"):
        assert language(browser.authorize(scope=ONE_RECORD, ui_locales=tampered)) == "en"


def test_a_person_chooses_a_language_by_a_link_that_is_remembered(front: Front) -> None:
    """Without script, on any page; it stands before what an app asks for from then on in this request."""
    browser = speaking(front, "en", "pat")
    page = browser.authorize(scope=ONE_RECORD, ui_locales="en")
    link = re.search(r'<a href="([^"]+)" lang="es"[^>]*>Español</a>', page.text)
    assert link is not None

    chosen = browser.follow(browser.http.get(f"/t/{MERCY}/oauth/authorize{link[1].replace('&amp;', '&')}"))

    assert language(chosen) == "es"
    assert ">English</a>" in chosen.text
    assert language(browser.follow(browser.http.get(MANAGE))) == "es"
    assert "code" in answer(browser.press(form_with(chosen.text, "decision"), ("decision", "allow")))
    assert language(browser.http.get(f"{MANAGE}?language=xx")) == "es"
    assert language(browser.http.get(f"{MANAGE}?language=en")) == "en"
    assert language(browser.http.get(SIGNIN, headers={"cookie": "hilum_language=<b>"})) == "en"


def test_the_same_is_granted_in_every_language(front: Front) -> None:
    """What a page offers and what its form sends do not depend on its language."""
    browsers = [speaking(front, header, "pat") for header in ("en", "es")]
    forms = [form_with(each.authorize(scope=STANDALONE).text, "decision") for each in browsers]
    own = {"csrf", "request", "language"}
    offered = [
        ([field for field in form.fields if field[0] not in own], form.submits, form.choices)
        for form in forms
    ]
    codes = [
        answer(browser.press(form, ("decision", "allow")))["code"]
        for browser, form in zip(browsers, forms, strict=True)
    ]
    granted = [front.redeem(code, "web").json()["scope"] for code in codes]

    assert offered[0] == offered[1]
    assert granted[0] == granted[1]


def test_the_language_that_somebody_read_is_recorded_with_their_answer(front: Front) -> None:
    """Of an agreement, of its renewal and of a refusal; a form that names no language of ours adds nothing."""
    browser = speaking(front, "es", "pat")
    browser.authorize(scope=ONE_RECORD)
    browser.allow()
    browser.authorize(scope=ONE_RECORD)
    browser.allow()
    browser.authorize(scope=ONE_RECORD)
    browser.deny()
    page = browser.authorize(scope=ONE_RECORD)
    browser.press(form_with(page.text, "decision"), ("decision", "deny"), ("language", "<xx>"))

    def read(action: str) -> list[Any]:
        return [each.facts.get("language") for each in front.events(action)]

    assert read("consent.authorization.record") == ["es"]
    assert read("consent.authorization.renew") == ["es"]
    assert sorted(map(str, read("authserver.request.refuse"))) == ["None", "es"]


def test_a_refused_launch_says_whose_rule_it_is_in_spanish(front: Front) -> None:
    """C216: in the clinician's words, with the hospital that decides; the app's own error stays English."""
    front.engage(TargetKind.APP, front.clients["web"].app, Mode.FULL_STOP)

    page = speaking(front, "es", "dora").authorize(scope="openid user/Patient.rs")

    assert page.status_code == 403
    assert language(page) == "es"
    assert "está detenida en este momento" in page.text
    assert "Quién decide:" in page.text
    assert "Regresar a la aplicación" in page.text
    assert "stopped" in answer(page)["error_description"]


@in_one_world(
    "address",
    [
        SIGNIN,
        f"{SIGNIN}?over=1",
        f"{SIGNIN}?enrolled=1",
        "/signin",
        f"/t/{MERCY}/signout",
        MANAGE,
        f"{MANAGE}?done=remove",
        f"{MANAGE}/break-glass",
        f"/t/{MERCY}/account",
        f"/t/{MERCY}/account/authenticator",
        f"/t/{MERCY}/enrol/none",
        f"/t/{MERCY}/nowhere",
        "/t/nowhere/signin",
        f"/t/{MERCY}/oauth/authorize?client_id=nobody",
        f"/t/{MERCY}/oauth/authorize?request=x",
    ],
)
def test_no_text_of_a_page_stays_in_english(front: Front, address: str) -> None:
    front_pages(front, lambda browser: browser.follow(browser.http.get(address)))


def test_no_text_of_a_launch_stays_in_english(front: Front) -> None:
    """Picker, visit, notice and consent; and a sign-in that fails."""
    encounter = "launch/patient launch/encounter openid fhirUser offline_access user/*.rs"

    def pick(browser: Browser) -> Any:
        browser.authorize(scope=encounter)
        return browser.pick("p1")

    def fail(browser: Browser) -> Any:
        browser.http.cookies.clear()
        browser.authorize(scope=ONE_RECORD)
        return browser.sign_in("pat", "wrong")

    def connected(browser: Browser) -> Any:
        browser.authorize(scope=ONE_RECORD)
        browser.allow()
        return browser.follow(browser.http.get(MANAGE))

    front_pages(front, lambda browser: browser.authorize(scope=STANDALONE), "dora")
    front_pages(front, pick, "dora")
    front_pages(front, lambda browser: browser.authorize(scope=STANDALONE), "gus")
    front_pages(front, lambda browser: browser.authorize(scope=ONE_RECORD), "pat")
    front_pages(front, connected, "pat")
    front_pages(front, fail)


def front_pages(front: Front, show: Any, person: str = "dora") -> None:
    """Check that the Spanish page says nothing that the English one says, but names."""
    english, spanish = (show(speaking(front, header, person)) for header in ("en", "es"))

    assert english.status_code == spanish.status_code
    assert (language(english), language(spanish)) == ("en", "es")
    same = set(_Texts(english.text).found) & set(_Texts(spanish.text).found)
    assert [each for each in same if not SAME_IN_ALL.fullmatch(each)] == []


def test_a_browser_that_wants_no_language_gets_the_hospitals(
    front: Front, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C87: for that hospital's pages only, and only where neither the browser nor the person states one."""
    pages = shared_pages()
    spanish = replace(pages.shell, defaults=lambda tenant: PageDefaults("es" if tenant == MERCY else "", ""))
    monkeypatch.setattr(pages, "shell", spanish)

    assert language(speaking(front, "").http.get(SIGNIN)) == "es"
    assert language(speaking(front, "fr").http.get(SIGNIN)) == "es"
    assert language(speaking(front, "en-GB").http.get(SIGNIN)) == "en"
    assert language(speaking(front, "").http.get(f"{SIGNIN}?language=en")) == "en"
    assert language(speaking(front, "").http.get(SIGNIN.replace(MERCY, "elsewhere"))) == "en"
