"""``make bench``: every figure with its target, into .hilum/bench.json and a table."""

import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tests.bench import (
    consoles,
    dry_runs,
    gateway,
    inside,
    isolation,
    nights,
    postgresql,
    reach,
    runs,
    snapshots,
    strangers,
    switches,
    tokens,
    walks,
)
from tests.bench.figures import Figure

GROUPS: dict[str, Callable[[], list[Figure]]] = {
    "gateway": gateway.figures,
    "tokens": tokens.figures,
    "inside": inside.figures,
    "isolation": isolation.figures,
    "strangers": strangers.figures,
    "switches": switches.figures,
    "postgresql": postgresql.figures,
    "dry-runs": dry_runs.figures,
    "consoles": consoles.figures,
    "reach": reach.figures,
    "runs": runs.figures,
    "snapshots": snapshots.figures,
    "nights": nights.figures,
    "walks": walks.figures,
}


def main() -> None:
    wanted = sys.argv[1:] or list(GROUPS)
    found: list[Figure] = []
    for name in wanted:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        found += GROUPS[name]()
    out = Path(".hilum")
    out.mkdir(exist_ok=True)
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "system": platform.platform()}
    (out / "bench.json").write_text(
        json.dumps({"machine": machine, "figures": [asdict(each) for each in found]}, indent=2)
    )
    print(f"\n{'':4} {'figure':66} {'measured':>28}  {'target':16} reached")
    for each in found:
        print(
            f"{each.id:4} {each.what:66} {each.shown:>28}  {each.target:16} {'yes' if each.reached else 'no'}"
        )
        for part in each.parts:
            print(f"     {part}")


if __name__ == "__main__":
    main()
