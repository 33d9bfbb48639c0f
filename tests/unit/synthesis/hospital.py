"""Hospitals made once for all tests here, and small questions to their resources."""

import re
from collections.abc import Iterator
from datetime import date, datetime
from functools import cache
from typing import Any

from hilum_ehr.synthesis.hospital import synthesize
from hilum_ehr.synthesis.models import HospitalPlan, Resource
from hilum_ehr.synthesis.policy import hospitals

TODAY = date(2026, 11, 25)
SEED = 7
TENANTS = [plan.tenant for plan in hospitals()]
STEP = re.compile(r"([A-Za-z_]\w*)(?:\[([\w.]+)(\^?=)([^\]]+)\])?\.?")


def plan_of(tenant: str) -> HospitalPlan:
    return next(plan for plan in hospitals() if plan.tenant == tenant)


@cache
def made(tenant: str) -> tuple[Resource, ...]:
    return tuple(synthesize(plan_of(tenant), seed=SEED, today=TODAY))


def of(tenant: str, kind: str) -> list[Resource]:
    """Return a hospital's resources of a type. There are some, or a loop over them would prove nothing."""
    found = [resource for resource in made(tenant) if resource["resourceType"] == kind]
    assert found, f"{tenant} has no {kind}"
    return found


def everything() -> list[Resource]:
    return [resource for tenant in TENANTS for resource in made(tenant)]


def values(node: Any, path: str) -> list[Any]:
    """Walk ``a.b[c.d=e].f``: every value at the path, through lists; ``^=`` compares the beginning."""
    found = [node]
    for name, key, comparison, wanted in STEP.findall(path):
        found = [
            item for each in found if isinstance(each, dict) and name in each for item in _many(each[name])
        ]
        if key:
            found = [
                each
                for each in found
                if any(_same(str(value), comparison, wanted) for value in values(each, key))
            ]
    return found


def _many(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _same(value: str, comparison: str, wanted: str) -> bool:
    return value.startswith(wanted) if comparison == "^=" else value == wanted


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("reference"), str):
            yield node["reference"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def patient_of(resource: Resource) -> str:
    for name in ("subject", "patient", "beneficiary"):
        if name in resource:
            return str(resource[name]["reference"]).removeprefix("Patient/")
    return resource["id"] if resource["resourceType"] == "Patient" else ""


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text if "T" in text else f"{text}T12:00:00+00:00")


def by_code(resources: list[Resource], code: str) -> list[Resource]:
    return [each for each in resources if code in values(each, "code.coding.code")]


def amount(resource: Resource) -> float:
    return float(resource["valueQuantity"]["value"])
