"""A patient who has connected an app, and the page that shows it."""

from tests.flows.authorize_flow import Browser, Front, answer
from tests.flows.token_flow import MERCY, REMEMBERED
from tests.sim.furnished import furnish

MANAGE = f"/t/{MERCY}/oauth/manage"
SCOPE = "launch/patient openid offline_access patient/Patient.rs patient/Goal.rs patient/Immunization.rs"


def connect(front: Front, person: str = "pat", client: str = "web", scope: str = SCOPE) -> dict[str, str]:
    def build() -> dict[str, str]:
        browser = front.browser(person)
        browser.authorize(client=client, scope=scope)
        told = answer(browser.allow())
        return dict(front.redeem(told["code"], client).json())

    return furnish(f"connected {person} {client} {scope}", front.uow, front, REMEMBERED, build)


def manage(browser: Browser) -> str:
    page = browser.follow(browser.http.get(MANAGE))
    assert page.status_code == 200, page.text
    return str(page.text)
