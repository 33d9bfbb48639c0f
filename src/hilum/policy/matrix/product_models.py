"""Scope products and workflows."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, Strict

from hilum.policy.matrix.fields import Day, Flag, OwnName, SetOf, Text, Words

NOTICE = timedelta(days=90)
"""The least time between the deprecation and the sunset of a scope product (C62)."""
VERSION_BOUND = 10_000
WORKFLOW_SCOPE = "hilum/workflow/"
"""What a workflow's scope begins with, before its name. No SMART scope and no scope of OpenID Connect has a prefix of this form."""


class ScopeStatus(StrEnum):
    """The status of a scope product."""

    DRAFT = "draft"
    """Not granted to anybody yet."""
    ACTIVE = "active"
    DEPRECATED = "deprecated"
    """Granted until its sunset, with notice."""
    RETIRED = "retired"
    """Granted to nobody."""


class DataClass(StrEnum):
    """What kind of data a scope product opens."""

    NONE = "none"
    """No record: launch, identity, session."""
    DIRECTORY = "directory"
    ADMINISTRATIVE = "administrative"
    FINANCIAL = "financial"
    CLINICAL = "clinical"
    FREE_TEXT = "free_text"
    """Text that may contain anything."""


@dataclass(frozen=True, slots=True)
class ScopeProduct:
    """Some SMART scopes, with somebody who answers for them (C61). A scope is granted only within ``covers`` of products in force.

    ``successor`` is another product; ``no_successor`` says why there is none. After the first moment of ``sunset`` (UTC) nothing that it
    covers is granted. ``custom``: it has its own meaning here; then ``demand`` says who needs it, and ``tests`` prove it (C65).
    """

    name: OwnName
    purpose: Text
    data_class: DataClass
    version: Annotated[int, Strict(), Field(ge=1, le=VERSION_BOUND)]
    status: ScopeStatus
    covers: Words
    owner: Text = ""
    successor: Text = ""
    no_successor: Text = ""
    deprecated_from: Day | None = None
    sunset: Day | None = None
    custom: Flag = False
    demand: Text = ""
    tests: Words = ()

    @property
    def in_force(self) -> bool:
        """Return whether its scopes are granted."""
        return self.status in {ScopeStatus.ACTIVE, ScopeStatus.DEPRECATED}


@dataclass(frozen=True, slots=True)
class Workflow:
    """A named job, with the scopes of resources that it needs (C63). ``intents``: words of launches that mean it, beside its name.

    ``placements``: a launch from there without an intent means it.
    """

    name: OwnName
    title: Text
    owner: Text
    purpose: Text
    version: Annotated[int, Strict(), Field(ge=1, le=VERSION_BOUND)]
    scopes: Words
    intents: SetOf[str] = frozenset()
    placements: SetOf[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Expansion:
    """Requested scopes in which each workflow is expanded into its scopes. ``unknown``: the first workflow that the policy does not have."""

    text: str
    unknown: str = ""
