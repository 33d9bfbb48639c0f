"""The machine's ids and secrets."""

import re
import subprocess
import sys

from hilum.foundation.infra.system import SystemIds


def test_ids_are_ordered_by_time_and_never_repeat() -> None:
    ids = SystemIds()

    made = [ids.new("req") for _ in range(5_000)]

    assert len(set(made)) == len(made)
    assert [each[:14] for each in made] == sorted(each[:14] for each in made)
    assert all(re.fullmatch(r"req_[0-9a-hjkmnp-tv-z]{26}", each) for each in made)


FORK = """
import os
from hilum.foundation.infra.system import SystemIds
ids = SystemIds()
ids.new("req")
read, write = os.pipe()
if os.fork() == 0:
    os.write(write, ids.new("req").encode())
    os._exit(0)
os.wait()
print(os.read(read, 100).decode()[-16:], ids.new("req")[-16:])
"""


def test_a_forked_process_draws_other_ids_than_its_parent() -> None:
    told = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, text=True, check=True, timeout=30
    )

    child, parent = told.stdout.split()
    assert child != parent


def test_a_secret_has_256_bits_in_43_safe_characters() -> None:
    made = {SystemIds().secret() for _ in range(100)}

    assert len(made) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", each) for each in made)
