"""Names of routes, versions and what else follows from a declaration without asking anybody. Pure."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from hilum.foundation.actions.models import Action, Noun, Sentence

VERSION_LENGTH = 20
_WITHOUT_VERB = frozenset({"list", "show"})


def path_of(action: Action, *, targeted: bool) -> str:
    """Return the path of an action below the API's prefix: ``/nouns``, ``/nouns/{id}``, ``/nouns/verb`` or ``/nouns/{id}/verb``."""
    path = f"/{action.noun.many.replace('_', '-')}" + ("/{id}" if targeted else "")
    silent = action.verb in _WITHOUT_VERB or action.creates
    return path if silent else f"{path}/{action.verb.replace('_', '-')}"


def digest_of(value: Any) -> str:
    """Return a digest of values; it differs whenever one of them does."""
    return hashlib.sha256(json.dumps(value, default=str, sort_keys=True).encode()).hexdigest()


def version_of(record: Any) -> str:
    """Return the version of a record."""
    return digest_of(asdict(record))[:VERSION_LENGTH]


def shown(noun: Noun, record: Any, now: datetime) -> dict[str, Any]:
    """Return a record as the API shows it: its fields, those that depend on the time, and its version as ``etag``."""
    is_noun = isinstance(record, noun.record)
    hidden = noun.hidden if is_noun else frozenset[str]()
    # Not ``asdict``: the serializer goes down itself, and by type.
    values = {field.name: getattr(record, field.name) for field in fields(record) if field.name not in hidden}
    if not is_noun:
        return values
    derived = {name: derive(record, now) for name, derive in noun.derived.items()}
    return values | derived | {"etag": version_of(record)}


def sentence(text: Sentence, record: Any, now: datetime, words: Mapping[str, str]) -> str:
    """Return a sentence of a declaration, with the fields of a record in words."""
    return (text if isinstance(text, str) else text(record, now)).format_map(words)
