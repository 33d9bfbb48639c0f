"""Every table says what becomes of a hospital's rows when it leaves (C148)."""

import subprocess
import sys
from typing import Any

import pytest
from tools.make_migration import declare

from hilum.foundation.infra.db import metadata
from hilum.hospitals.offboarding.models import ErasureAction
from hilum.hospitals.offboarding.retentions import HAVE_NO_HOSPITAL, RETENTIONS

WHOSE = {"tenant", "person", "patient", "recipient", "holder", "owner", "fhir_user"}
"""Columns that say whose a row is."""


def test_every_table_with_rows_of_a_hospital_says_what_becomes_of_them() -> None:
    """A table that is added and says nothing fails here, so that no erasure forgets it."""
    declare()
    named = [each.table for each in RETENTIONS]

    silent = {name for name, table in metadata.tables.items() if WHOSE & set(table.columns.keys())}

    assert silent - set(named) - HAVE_NO_HOSPITAL == set()
    assert set(named) <= set(metadata.tables)
    assert len(named) == len(set(named))


@pytest.mark.parametrize("module", ["hilum.server.offboarding_exports", "hilum.server.jobs"])
def test_whoever_exports_or_erases_has_every_table_by_itself(module: str) -> None:
    """In a process of its own: other tests import modules that a host command and the jobs process do not."""
    look = (
        f"import {module}; from hilum.hospitals.offboarding.retentions import RETENTIONS; from hilum.foundation.infra.db import metadata;"
        "print([each.table for each in RETENTIONS if each.table not in metadata.tables])"
    )

    assert (
        subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True).stdout
        == "[]\n"
    )


@pytest.mark.parametrize("retention", RETENTIONS, ids=lambda retention: retention.table)
def test_what_is_hidden_or_blanked_is_a_column(retention: Any) -> None:
    declare()
    columns = set(metadata.tables[retention.table].columns.keys())

    assert set(retention.hidden) | set(retention.blank) <= columns
    assert bool(retention.blank) == (retention.deed is ErasureAction.BLANK)
    # A digest, a seal or a secret opens something, or helps to guess it.
    secret = {each for each in columns if "sealed" in each or each in {"digest", "secret", "private"}}
    assert not retention.exported or secret <= set(retention.hidden)
