"""For files whose promises mostly do not depend on the database: their tests run over SQLite, and those that do depend on it over both."""

import pytest

both_backends = pytest.mark.parametrize("one_uow", ["sqlite", "postgresql"], indirect=True)
"""For a test whose world stands on ``one_uow``: races, and what is written or read past the rooms' own verbs."""
