"""Which files stand on the same long-lived processes."""

SANDBOX, FOUR_WORKERS, TWO_NODES = "the sandbox that everybody shares", "four workers", "two nodes"
COPIES = "copies of a seeded sandbox"
_OUTSIDE = {
    SANDBOX: ("every_scenario", "own_snapshots", "policy_command"),
    FOUR_WORKERS: (
        "command_line",
        "drill_command",
        "hot_workers",
        "inspector",
        "key_rotation",
        "kill_switch",
        "leave_command",
        "public_sandbox",
        "stream_of_decisions",
        "tenants_are_apart",
    ),
    TWO_NODES: ("backup_and_restore", "behind_nginx", "frozen", "killed_nodes", "two_nodes", "two_people"),
}
GROUNDS = (
    ("tests/conformance/", SANDBOX),
    ("tests/browser/", SANDBOX),
    ("tests/attack/test_bounds.py", SANDBOX),
    *((f"tests/flows/outside/test_{name}", ground) for ground, names in _OUTSIDE.items() for name in names),
    ("tests/flows/outside/", COPIES),
    ("tests/flows/test_processes.py", COPIES),
)
"""Which files need the same long-lived processes: one worker runs them one after the other, so that those are started once, and stopped
while it runs others (``tests/sim/shared_places.py``). No worker begins with copies while another is seeding what they are made from.
"""


def ground_of(file: str) -> str:
    return next((ground for prefix, ground in GROUNDS if file.startswith(prefix)), "")
