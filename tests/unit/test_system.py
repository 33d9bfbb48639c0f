"""The machine's ids and secrets."""

import os
import re

from hilum.infra.system import SystemIds


def test_ids_are_ordered_by_time_and_never_repeat() -> None:
    ids = SystemIds()

    made = [ids.new("req") for _ in range(5_000)]

    assert len(set(made)) == len(made)
    assert [each[:14] for each in made] == sorted(each[:14] for each in made)
    assert all(re.fullmatch(r"req_[0-9a-hjkmnp-tv-z]{26}", each) for each in made)


def test_a_forked_process_draws_other_ids_than_its_parent() -> None:
    ids = SystemIds()
    ids.new("req")
    read, write = os.pipe()

    child = os.fork()
    if child == 0:
        os.write(write, ids.new("req").encode())
        os._exit(0)
    os.waitpid(child, 0)

    assert os.read(read, 100).decode()[-16:] != ids.new("req")[-16:]
    os.close(read)
    os.close(write)


def test_a_secret_has_256_bits_in_43_safe_characters() -> None:
    made = {SystemIds().secret() for _ in range(100)}

    assert len(made) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{43}", each) for each in made)
