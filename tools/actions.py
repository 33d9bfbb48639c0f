"""Write the descriptions of all declared actions, of which the command line is made.

``python -m tools.actions`` writes; ``tests/house/test_actions.py`` fails when the file is stale.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import orjson

from hilum.foundation.actions.live import FILE
from hilum.foundation.actions.models import Action
from hilum.foundation.actions.service import actions_of, describe

SOURCE = Path(__file__).parents[1] / "src"


def declared() -> list[Action]:
    """Find every declared action, by the files that use the decorator."""
    found = [path for path in sorted((SOURCE / "hilum").rglob("*.py")) if "\n@action(" in path.read_text()]
    modules = [import_module(".".join(path.relative_to(SOURCE).with_suffix("").parts)) for path in found]
    return sorted(
        (each for module in modules for each in actions_of(module)),
        key=lambda each: (each.noun.name, each.verb),
    )


def described() -> bytes:
    """Return the content of the file."""
    nouns: dict[str, dict[str, Any]] = {}
    for each in declared():
        name = each.noun.name.replace("_", "-")
        nouns.setdefault(name, {"help": each.noun.help, "actions": []})["actions"].append(describe(each))
    return orjson.dumps(nouns, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"


if __name__ == "__main__":
    FILE.write_bytes(described())
