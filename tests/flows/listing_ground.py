"""Listings of a certified app, as its vendor and hospitals see them."""

from datetime import timedelta
from typing import Any

from hilum.review.certificates.service import step
from tests.flows.certificate_ground import AT
from tests.flows.certified_app import Certified
from tests.flows.vendor_ground import made

WHY = {"reason": "Certified, and its support answers."}


def follow(certified: Certified) -> None:
    while certified.ground.site.system(step, at=AT):
        pass


def act(certified: Certified, who: str, what: str) -> Any:
    return certified.ground.site.api(who).post(f"/listings/{certified.ground.app}/{what}", json=WHY)


def seen(certified: Certified, who: str = "gina") -> list[str]:
    return [each["app"] for each in made(certified.ground.site.api(who).get("/listings"), 200)["items"]]


def figure(certified: Certified) -> tuple[int, int, float | None]:
    certified.world.clock.advance(timedelta(minutes=1))
    found = certified.ground.site.browser().get("/certificates/currency.json").json()
    return found["published"], found["current"], found["percent"]
