"""The sandbox's card: its people, patients, clients and their credentials, for scripts and tests. Pure.

Source: docs/reference/contract.md, GET /sandbox/card.json.
"""

from functools import partial
from typing import Any

from hilum.foundation.web.urls import Urls
from hilum_ehr.sandbox.clients import ClientPlan, Kind, Plan, SystemClientPlan
from hilum_ehr.sandbox.credentials import CredentialsFile
from hilum_ehr.synthesis.models import CastMember, HospitalPlan


def card(
    hospitals: tuple[HospitalPlan, ...],
    plan: Plan,
    credentials_file: CredentialsFile,
    urls: Urls,
    *,
    withhold: bool,
) -> dict[str, Any]:
    """Return the card. ``withhold``: a public sandbox shows no passwords, secrets, keys or tokens."""

    # Members stay, with empty values: scripts find the same shape in both kinds of sandbox.
    def shown(secret: str) -> str:
        return "" if withhold else secret

    system_client = partial(_system_client, credentials_file=credentials_file, withhold=withhold)
    return {
        "base_url": urls.base_url,
        "sandbox_url": urls.sandbox_url,
        "tenants": [_tenant(hospital, urls) for hospital in hospitals],
        "people": [
            {
                "tenant": hospital.tenant,
                "username": member.username,
                "password": shown(
                    credentials_file.password(hospital.tenant, member.username, member.password)
                ),
                "role": member.role.value,
                "fhirUser": fhir_user(urls, hospital, member),
                "name": member.name,
            }
            for hospital in hospitals
            for member in hospital.cast
        ],
        "staff": [
            {
                "username": staff.username,
                "password": shown(credentials_file.password("", staff.username, staff.password)),
                "role": staff.role,
                "totp_secret": "",
                "api_token": shown(credentials_file.api_tokens.get(staff.username, "")),
            }
            for staff in plan.staff
        ],
        "members": _members(plan, credentials_file, withhold=withhold),
        "patients": [
            {
                "tenant": hospital.tenant,
                "id": chart["id"],
                "name": chart["name"],
                "notable": chart["notable"],
                "encounters": chart["encounters"],
            }
            for hospital in hospitals
            for chart in credentials_file.charts.get(hospital.tenant, ())
        ],
        "clients": [
            _client(client, app.tenants, credentials_file, withhold=withhold)
            for app, client in plan.clients()
        ],
        "ehr_clients": [system_client(each) for each in plan.ehr_clients],
        "resource_servers": [system_client(each) for each in plan.resource_servers],
        "groups": [
            {"tenant": tenant, "id": group}
            for tenant, groups in credentials_file.groups.items()
            for group in groups
        ],
        "apps_url": urls.sandbox_apps(),
    }


def _tenant(hospital: HospitalPlan, urls: Urls) -> dict[str, str]:
    return {
        "id": hospital.tenant,
        "name": hospital.name,
        "fhir": urls.fhir_base(hospital.tenant),
        "issuer": urls.issuer(hospital.tenant),
        "launch_api": urls.launches(hospital.tenant),
    }


def fhir_user(urls: Urls, hospital: HospitalPlan, member: CastMember) -> str:
    """Return a person's resource as in the id_token: an absolute URL below the tenant's FHIR base."""
    return f"{urls.fhir_base(hospital.tenant)}/{member.fhir_user}"


def _members(plan: Plan, credentials_file: CredentialsFile, *, withhold: bool) -> list[dict[str, str]]:
    """List members of vendors; none in a sandbox that an older release seeded."""
    return [
        {
            "vendor": credentials_file.vendors[each.vendor],
            "username": each.username,
            "password": ""
            if withhold
            else credentials_file.password(each.place, each.username, each.password),
            "role": each.role,
            "name": each.name,
        }
        for each in plan.members
        if each.vendor in credentials_file.vendors
    ]


def _client(
    client: ClientPlan, tenants: tuple[str, ...], credentials_file: CredentialsFile, *, withhold: bool
) -> dict[str, Any]:
    secret = (
        credentials_file.client_secrets.get(client.client_id, "") if client.kind is Kind.SYMMETRIC else ""
    )
    keys = credentials_file.private_jwks.get(client.client_id, {}) if client.is_keyed else {}
    return {
        "client_id": client.client_id,
        "tenants": list(tenants),
        "type": client.kind.value,
        "secret": "" if withhold else secret,
        "private_jwks": {} if withhold else keys,
        "redirect_uris": list(client.redirect_uris),
        "launch_url": client.launch_url,
        "origins": list(client.origins),
        "scope": " ".join(client.scopes),
    }


def _system_client(
    system_client: SystemClientPlan, credentials_file: CredentialsFile, *, withhold: bool
) -> dict[str, str]:
    secret = "" if withhold else credentials_file.client_secrets.get(system_client.client_id, "")
    return {"tenant": system_client.tenant, "client_id": system_client.client_id, "secret": secret}
