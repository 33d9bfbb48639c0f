"""``hilum drill``: a canary is stopped in earnest, over four workers, and released (C139)."""

from pathlib import Path

import orjson
from joserfc.jwk import ECKey

from tests.flows.outside.ground import ENDS
from tests.flows.outside.shells import DONE, REFUSED, Shell, administrator, by
from tests.sim.running import Running

SCOPE = "system/Organization.rs"


def canary(running: Running, tmp: Path, key: ECKey) -> str:
    """Have people register, certify and install a canary, by commands."""
    admin, reviewer = by(running, "admin.ferro", tmp), by(running, "reviewer.mensah", tmp)
    contacts = ("--support", "help@own.example", "--security", "sec@own.example")
    vendor = admin.json("vendor", "add", "Our Own Drills", *contacts)["id"]
    about = ("--vendor", vendor, "--description", "Is stopped.", "--purpose", "Drills.")
    app = admin.json("app", "add", "Drill canary", *about, "--category", "population_health")["id"]
    version = admin.json("app", "version", app, "1.0")["id"]
    body = {
        "app": app,
        "version": version,
        "client_name": "Drill canary",
        "client_type": "backend",
        "deployment": "server",
        "scope": SCOPE,
        "jwks": {"keys": [key.as_dict(private=False)]},
        "expires_at": ENDS,
        "backend_use": {
            "purpose": "Drills of kill switches",
            "population": "Nobody",
            "schedule": "Weekly",
            "approver": "Security",
        },
    }
    admin.typed = orjson.dumps(body).decode()
    client: str = admin.json("app", "client", "-")["id"]
    ends = ("--environment", "sandbox", "--expires-at", ENDS)
    reviewer.json("app", "certify", version, *ends, "--scope", SCOPE)
    administrator(running, tmp).json("app", "install", app, "--tenant", "general")
    return client


def test_a_drill_measures_every_endpoint_and_records_the_result(hospital: Running, tmp_path: Path) -> None:
    """C139: below five seconds at every door and worker; nothing is stopped afterwards."""
    key = ECKey.generate_key("P-384", {"use": "sig", "alg": "ES384", "kid": "canary"})
    kept = tmp_path / "canary.json"
    kept.write_bytes(orjson.dumps(key.as_dict(private=True)))
    client = canary(hospital, tmp_path, key)
    owner = by(hospital, "admin.ferro", tmp_path)
    order = ("drill", "run", "--client", client, "--key", str(kept), "--tenant", "general")

    ran = owner.hilum(*order, "--json")

    found = orjson.loads(ran.stdout)
    assert (ran.returncode, found["passed"], found["faults"]) == (DONE, True, []), ran.stdout
    assert {each["endpoint"] for each in found["measured"]} == {"gateway", "token", "introspection"}
    assert all(each["last_open_ms"] < 5_000 for each in found["measured"])
    assert found["containment"] == "contained"
    assert not owner.json("switch", "show", found["switch"])["in_force"]
    assert owner.json("drill", "list")[0]["id"] == found["id"]
    _refuses_what_is_no_canary(hospital, owner, order)


def _refuses_what_is_no_canary(hospital: Running, owner: Shell, order: tuple[str, ...]) -> None:
    app = ("drill", "run", "--client", "northgate-registry", *order[4:])
    owner.refuses(*app, saying="canary")
    stranger = by(hospital, "auditor.quispe", Path(owner.variables["HOME"]))
    stranger.refuses(*order, saying="not_permitted")
    broken = Path(owner.variables["HOME"]) / "broken.json"
    broken.write_text("{}")
    assert owner.hilum(*order[:5], str(broken), *order[6:]).returncode not in {DONE, REFUSED}
