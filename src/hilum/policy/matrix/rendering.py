"""The document of a rule book: everything written out in full, and its canonical bytes. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from hilum.policy.matrix.limits import (
    rendered_bounds,
    rendered_criteria,
    rendered_lifetimes,
    rendered_remediation,
)
from hilum.policy.matrix.models import (
    DORMANT_DAYS,
    FORMAT,
    Book,
    Cell,
    JurisdictionPack,
    Observation,
    TierRule,
)
from hilum.policy.matrix.product_models import ScopeProduct, Workflow
from hilum.policy.matrix.tables import duration_text


def canonical(document: Mapping[str, Any]) -> bytes:
    """Return the bytes that stand for a rendered document: equal books have equal bytes."""
    return json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def render(book: Book) -> dict[str, Any]:
    """Return the whole document of a book: every cell in full, every list in one order."""
    return rendered_bounds(book) | {
        "format": FORMAT,
        "title": book.title,
        "owner": book.owner,
        "workflows": {each.name: _rendered_workflow(each) for each in book.workflows.values()},
        "placements": dict(book.placements),
        "scenarios": dict(book.scenarios),
        "evidence": dict(book.evidence),
        "custom_scopes_at_most": book.custom_scopes_at_most,
        "scopes": {each.name: _rendered_product(each) for each in (book.products or {}).values()},
        "regulated_lane": [
            {
                "name": step.name,
                "within_business_days": step.within_business_days,
                "requires": sorted(step.requires),
            }
            for step in book.regulated_lane
        ],
        "packs": [_rendered_pack(pack) for pack in book.packs],
        "tier_rules": [render_rule(rule) for rule in book.tier_rules],
        "categories": {
            category.name: {
                "title": category.title,
                "floor": category.floor.value,
                "open": category.open,
                "cells": {tier.value: _rendered_cell(cell) for tier, cell in category.cells.items()},
                **({"model_card": True} if category.model_card else {}),
            }
            for category in book.categories.values()
        },
    }


def _rendered_workflow(workflow: Workflow) -> dict[str, Any]:
    optional = {"intents": sorted(workflow.intents), "placements": sorted(workflow.placements)}
    return {
        "title": workflow.title,
        "owner": workflow.owner,
        "purpose": workflow.purpose,
        "version": workflow.version,
        "scopes": list(workflow.scopes or ()),
    } | {name: words for name, words in optional.items() if words}


def _rendered_product(product: ScopeProduct) -> dict[str, Any]:
    days = {"deprecated_from": product.deprecated_from, "sunset": product.sunset}
    optional = {
        "owner": product.owner,
        "successor": product.successor,
        "no_successor": product.no_successor,
        **{name: day.isoformat() for name, day in days.items() if day is not None},
        "custom": product.custom,
        "demand": product.demand,
        "tests": list(product.tests),
    }
    return {
        "purpose": product.purpose,
        "data_class": product.data_class.value,
        "version": product.version,
        "status": product.status.value,
        "covers": list(product.covers),
    } | {name: value for name, value in optional.items() if value}


def _rendered_pack(pack: JurisdictionPack) -> dict[str, Any]:
    until = {} if pack.valid_until is None else {"valid_until": pack.valid_until.isoformat()}
    return {
        "name": pack.name,
        "jurisdiction": pack.jurisdiction,
        "source": pack.source,
        "valid_from": pack.valid_from.isoformat(),
        "step_days": dict(pack.step_days),
        "patient_refresh_at_least": duration_text(pack.patient_refresh_at_least),
    } | until


def render_rule(rule: TierRule) -> dict[str, Any]:
    """Return a tier rule as it is written in a document."""
    conditions = {
        "categories": sorted(rule.categories),
        "clients": sorted(rule.clients),
        "workflows": sorted(rule.workflows),
        "placements": sorted(rule.placements),
        "prefixes": sorted(rule.prefixes),
        "types": sorted(rule.types),
        "letters": list(rule.letters),
        "special": sorted(rule.special),
        "autonomy": sorted(rule.autonomy),
        "populations": sorted(rule.populations),
    }
    named: dict[str, Any] = {name: words for name, words in conditions.items() if words}
    return {"name": rule.name, "tier": rule.tier.value, "because": rule.because} | named


def _rendered_cell(cell: Cell) -> dict[str, Any]:
    # Left out where it is the default, so that older books keep their digests.
    dormant = {} if cell.dormant_days == DORMANT_DAYS else {"dormant_days": cell.dormant_days}
    return (
        {
            "scopes": list(cell.scopes),
            "session_scopes": list(cell.session_scopes),
            "client_authentication": sorted(cell.client_authentication),
            "workflows": sorted(cell.workflows),
            "placements": sorted(cell.placements),
            "scenarios": sorted(cell.scenarios),
            "evidence": sorted(cell.evidence),
            "lenses": sorted(cell.lenses),
            "review": {
                "first_answer_business_days": cell.review.first_answer_business_days,
                "decision_business_days": cell.review.decision_business_days,
                **(
                    {}
                    if cell.review.sample_percent is None
                    else {"sample_percent": cell.review.sample_percent}
                ),
            },
            "quota": {"rate_per_s": cell.quota.rate_per_s, "burst": cell.quota.burst},
            "traffic_class": cell.traffic_class.value,
            "alerts": {
                "refused_percent": cell.alerts.refused_percent,
                "failed_percent": cell.alerts.failed_percent,
                "latency_ms_p95": cell.alerts.latency_ms_p95,
            },
            "certificate_life": duration_text(cell.certificate_life),
            "lifetimes": rendered_lifetimes(cell.lifetimes),
        }
        | dormant
        | ({"dormant_ends": True} if cell.dormant_ends else {})
        | rendered_remediation(cell)
        | rendered_criteria(cell)
        | {kind: sorted(getattr(cell, kind)) for kind in ("agreements", "proofs") if getattr(cell, kind)}
        | ({} if cell.observe is None else {"observe": _rendered_observation(cell.observe)})
    )


def _rendered_observation(observation: Observation) -> dict[str, Any]:
    until = {"until": observation.until.isoformat()}
    if observation.earlier is not None:
        return until | {"earlier": _rendered_cell(observation.earlier)}
    return until | ({"limits": list(observation.limits)} if observation.limits else {})
