"""A password costs as much as it must only where passwords are tested; elsewhere it is hashed as cheaply as argon2 allows."""

from argon2 import PasswordHasher

from hilum.identity.signin import live

COSTLY = live._HASHER


def use_cheap() -> None:
    """Hash cheaply in this process and in what is forked from it. A check costs what the hash did."""
    live._HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
