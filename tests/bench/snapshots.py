"""P25: a developer's snapshot of the largest synthetic hospital, made and reset over HTTP."""

import time

from tests.bench.figures import Figure
from tests.bench.rig import Rig, rig
from tests.flows.outside.ground import Outside, tell
from tests.sim.running import Described

TARGET_S = 10.0
TIMES = 5


def figures() -> list[Figure]:
    """Measure how long it takes until the answer that a snapshot is ready, the slowest of some."""
    with rig() as made:
        created, reset = tell(Described(made.base, card=made.card), lambda outside: _taken(outside, made))
    return [
        Figure(name, what, max(all_), f"{max(all_):.2f} s", "< 10 s", max(all_) < TARGET_S, [_parts(all_)])
        for name, what, all_ in (
            ("P25", "a developer's snapshot reset, slowest of five", reset),
            ("P25", "a developer's snapshot made, slowest of five", created),
        )
    ]


def _parts(all_: list[float]) -> str:
    return ", ".join(f"{each:.2f} s" for each in all_)


async def _taken(outside: Outside, made: Rig) -> tuple[list[float], list[float]]:
    member = next(each for each in made.card["members"] if each["username"] == "developer.lund")
    who = {name: member[name] for name in ("vendor", "username", "password")}
    token = (await outside.http.post(f"{made.base}/api/v1/tokens", json=who)).json()["token"]
    headers, at = {"authorization": f"Bearer {token}"}, f"{made.base}/api/v1/sandbox-snapshots"

    async def timed(method: str, path: str, body: dict[str, str] | None = None) -> tuple[float, str]:
        begun = time.monotonic()
        answer = await outside.http.request(method, f"{at}{path}", json=body, headers=headers, timeout=60)
        assert answer.status_code in {200, 201}, answer.text
        return time.monotonic() - begun, str(answer.json()["id"])

    created, reset = [], []
    for n in range(TIMES):
        took, snapshot = await timed("POST", "", {"name": f"bench {n}", "template": "general"})
        created.append(took)
        reset.append((await timed("POST", f"/{snapshot}/reset"))[0])
        await timed("DELETE", f"/{snapshot}")
    return created, reset
