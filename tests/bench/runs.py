"""P21: a certification run with every scenario of the shipped policy, from opening it to the signed result."""

import time

from tests.bench.figures import Figure
from tests.bench.rig import Rig, rig
from tests.flows.outside.ground import Outside, tell
from tests.flows.outside.run_app import SCENARIOS, RunApp, register
from tests.sim.running import Described

TENANT = "general"
TARGET_S = 60.0


def figures() -> list[Figure]:
    """Measure one run of a well-made app over HTTP."""
    with rig() as made:
        took, slowest, spent, judged = tell(
            Described(made.base, card=made.card), lambda outside: _run(outside, made)
        )
    longest = sorted(slowest.items(), key=lambda each: -each[1])[:4]
    return [
        Figure(
            "P21",
            f"a certification run of {len(SCENARIOS)} scenarios, opened to signed",
            took,
            f"{took:.1f} s",
            "<= 60 s",
            took <= TARGET_S,
            [
                f"platform's CPU {spent:.1f} s; judging and signing {judged:.2f} s; the longest: "
                + ", ".join(f"{name} {seconds:.1f} s" for name, seconds in longest)
            ],
        )
    ]


async def _run(outside: Outside, made: Rig) -> tuple[float, dict[str, float], float, float]:
    return await _taken(RunApp(outside, await register(outside, (TENANT,)), TENANT), made)


async def _taken(app: RunApp, made: Rig) -> tuple[float, dict[str, float], float, float]:
    begun, before = time.monotonic(), made.cpu_s()
    await app.open_run()
    slowest = {}
    for scenario in SCENARIOS:
        start = time.monotonic()
        await app.take(scenario)
        slowest[scenario] = time.monotonic() - start
    start = time.monotonic()
    ended = await app.finish()
    took = time.monotonic() - begun
    assert ended["state"] == "passed", [each for each in ended["scenarios"] if each["outcome"] != "met"]
    return took, slowest, made.cpu_s() - before, time.monotonic() - start
