"""``hilum``: every command with what it refuses, its JSON and its exit codes, on a running platform and on a bare host."""

import asyncio
import os
import re
import time
import urllib.request
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import orjson
import pytest

from hilum.foundation.infra import settings
from hilum.identity.factors import policy
from hilum.server.commands.sandbox import welcome
from tests.effort import FULL
from tests.flows.outside.ground import ENDS, EVERY_WORKER, PATIENCE_S, Outside, tell, until_all
from tests.flows.outside.shells import DONE, LOGIN, MISUSED, REFUSED, Shell, administrator, by, host
from tests.sim.browser import form_with
from tests.sim.launcher import launch
from tests.sim.postgres import free_port
from tests.sim.running import Running
from tests.sim.seeded import KEY

PASSWORD = "correct horse battery"


@pytest.fixture
def bare(tmp_path: Path) -> Shell:
    """A host on which nothing was ever set up, in production mode."""
    home = tmp_path / "hilum"
    return Shell(
        {
            "HILUM_DATA_DIR": str(home),
            "HILUM_DATABASE_URL": f"sqlite:///{home}/hilum.db",
            "HILUM_BASE_URL": f"http://127.0.0.1:{free_port()}",
            "HOME": str(tmp_path),
        }
        | KEY
    )


def leaves(shell: Shell, *path: str) -> list[tuple[str, ...]]:
    page = shell.hilum(*path, "--help").stdout
    listed = page.partition("\nCommands:\n")[2]
    names = re.findall(r"^  ([a-z-]+) ", listed, re.MULTILINE)
    return [leaf for name in names for leaf in leaves(shell, *path, name)] if names else [path]


EXPECTED = {
    "init", "serve", "migrate", "doctor", "audit verify", "audit events", "audit accesses", "sandbox run", "sandbox seed", "sandbox load", "sandbox fault make", "sandbox fault list", "sandbox fault end", "sandbox snapshot create", "sandbox snapshot list", "sandbox snapshot show", "sandbox snapshot reset", "sandbox snapshot put-apps", "sandbox snapshot remove", "defect report", "defect list", "defect show", "defect tag", "defect close", "defect figures", "login", "confirm", "session list", "session end",
    "facility add", "facility list", "facility remove", "installation show", "installation networks", "installation validate",
    "tenant list", "tenant show", "tenant brand", "tenant add", "tenant change", "tenant upstream", "tenant system-client", "tenant check", "person list", "person add", "person deactivate",
    "person password", "person sign-out", "person reset", "person reset-factors", "person charts", "approval list", "approval show", "approval approve", "approval refuse", "vendor list", "vendor add", "vendor members", "vendor invite", "vendor invite-again", "vendor remove", "vendor domain add", "vendor domain list", "vendor domain check", "vendor domain remove", "app list", "app show", "app add", "app profile", "app offer", "app accept", "app decline", "app edit", "app edits", "app edit-logo", "app approve-edit", "app refuse-edit", "app change", "app version",
    "alert list", "alert show", "alert progress",
    "fhir-server check", "fhir-server list", "fhir-server show",
    "incident open", "incident assign", "incident rate", "incident note", "incident contain", "incident settle", "incident hold", "incident measure", "incident notify", "incident related", "incident advance", "incident close", "incident list", "incident show",
    "incident-notice acknowledge", "incident-notice list", "incident-notice show",
    "app documents",
    "finding list", "finding show", "finding recheck", "finding escalation", "finding service", "finding figures", "finding progress", "listing list", "listing show", "listing statements", "listing publish", "listing unpublish", "certificate list", "certificate show", "certificate verify", "app client", "app secret", "app certify", "app withdraw", "app install", "app installations", "app narrow", "app scopes", "app propose-scopes", "app contract", "app calls", "app service", "app rules", "app observed", "app uninstall",
    "app quota", "app category", "app tier", "app delta-reviews", "app suspend", "app resume", "app ask-again", "switch engage", "switch list", "switch show", "switch release", "switch report", "switch verify-report", "switch confirm-failover", "explain", "backup", "restore",
    "evidence open", "evidence begin", "evidence end", "evidence finish", "evidence abandon", "evidence list", "evidence show", "evidence rows",
    "policy show", "policy list", "policy validate", "policy scopes", "policy diff", "policy publish", "policy apply", "policy rollback", "policy assess", "policy dry-run", "policy dry-runs", "policy observed", "policy except", "policy exceptions", "policy end-exception",
    "policy refusals", "drill run", "drill list",
    "notices list", "notices show", "notices resend", "client list", "client show", "client unused", "client credentials", "contact add", "contact list", "contact link", "contact remove",
    "webhook add", "webhook list", "webhook rotate", "webhook ping", "webhook resume", "webhook remove",
    "agreement add", "agreement confirm", "agreement end", "agreement list", "agreement show",
    "tenant leave preview", "tenant leave ask", "tenant leave list", "tenant leave show", "tenant leave export", "tenant leave erase",
    "break-glass launches", "break-glass open", "break-glass list", "break-glass show", "break-glass end", "break-glass review", "break-glass settings", "break-glass set",
    "service-owner ask", "service-owner agree", "service-owner end", "service-owner list", "service-owner show", "service-owner unanswered",
    "conflict-of-interest declare", "conflict-of-interest end", "conflict-of-interest list", "conflict-of-interest show",
    "request add", "request apps", "request list", "request show", "request withdraw", "request approve", "request decline",
    "review submit", "review list", "review show", "review checks", "review rerun", "review decide", "review withdraw",
    "review disciplines", "review queue", "review take", "review release", "review judge", "review answer", "review resolve", "review scorecards", "review rights", "review allow", "review clocks", "review figures", "review appeal", "review ask-access", "review lane", "review verify",
    "installation newer", "installation accept",
    "consent export", "consent list", "deletion-request list", "deletion-request show", "deletion-request answer",
    "idp hosts", "idp allow", "idp disallow", "idp add", "idp key", "idp change", "idp on", "idp off", "idp list", "idp show", "idp try", "idp link", "idp links", "idp unlink",
    "history", "hold place", "hold list", "hold release", "keys rotate",
}  # fmt: skip


def test_help_lists_every_command_and_keeps_its_examples() -> None:
    """Contract, Commands: examples in ``--help``, line by line; a word that is no command is misuse."""
    anywhere = Shell()
    found = leaves(anywhere)
    assert {" ".join(each) for each in found} == EXPECTED
    first = anywhere.hilum("--help").stdout
    for leaf in found:
        page = anywhere.hilum(*leaf, "--help")
        assert page.returncode == DONE
        on_the_host = "--local" in page.stdout
        assert not on_the_host or " ".join(leaf) in " ".join(first.split()), f"{leaf} works on the host"
        assert "\\b" not in page.stdout, leaf
        assert "Example" in page.stdout, leaf
        for line in page.stdout.partition("Example")[2].splitlines():
            assert line.count("hilum ") <= 1 or "Options" in page.stdout, line
    for name in (
        "init",
        "serve",
        "migrate",
        "doctor",
        "backup",
        "restore",
        "audit verify",
        "keys rotate",
        "sandbox",
    ):
        assert name in first.partition("Examples")[0], name
    for wrong in (("nothing",), ("switch", "engage"), ("switch", "list", "--nope"), ("audit", "nothing")):
        assert anywhere.hilum(*wrong).returncode == MISUSED, wrong
    assert anywhere.hilum("--version").returncode == DONE


def test_the_first_two_administrators_are_made_once_and_signs_in_to_what_is_served(bare: Shell) -> None:
    """Contract, Modes: init makes the key, then the first administrator; doctor says what is missing until it is there."""
    made = without_key(bare).json("init")
    assert len(made["secret_key"]) >= 43
    before = bare.hilum("doctor", "--json")
    assert before.returncode == REFUSED
    assert "hilum migrate" in before.stdout
    assert not Path(bare.variables["HILUM_DATA_DIR"]).exists(), "looking changes nothing"
    who = ("init", "--username", "ada", "--name", "Ada Admin")
    bare.refuses(*who, "--password", "short", saying="password_invalid")
    assert bare.json(*who, "--password", PASSWORD)["role"] == "platform_admin"
    bare.refuses(*who, "--password", PASSWORD, saying="administrator_exists")
    second = ("init", "--username", "bela", "--name", "Bela Admin", "--password", PASSWORD)
    next_steps = bare.hilum(*second).stdout
    # In production `hilum login` refuses an administrator without a second factor.
    assert next_steps.index("/signin and set up a second factor") < next_steps.index("hilum login")
    third = ("init", "--username", "cora", "--name", "Cora Admin", "--password", PASSWORD)
    bare.refuses(*third, saying="administrator_exists")
    assert bare.hilum("doctor").returncode == DONE
    assert bare.hilum("migrate").returncode == DONE
    assert bare.hilum("audit", "verify").returncode == DONE
    bare.refuses("sandbox", "seed", saying="HILUM_MODE is not sandbox", HILUM_MODE="production")
    for verb in ("seed", "run"):
        bare.refuses("sandbox", verb, saying="not_a_sandbox")

    stop = ("switch", "engage", "--target", "platform", "--reason", "keys leaked")
    bare.refuses(*stop, saying="no API token")
    stopped = bare.json(*stop, "--local")
    assert stopped["engaged_by"].startswith("host:"), "the API is down, and still it can be stopped"

    afar = Shell({"HILUM_API_URL": bare.variables["HILUM_BASE_URL"], "HOME": bare.variables["HOME"]})
    with served(bare):
        login = ("login", "--username", "ada", "--password", PASSWORD)
        afar.refuses(*login, saying="factor_missing")
        # A recovery code, which is good for any moment.
        code = set_up_second_factor(bare.variables["HILUM_BASE_URL"], "ada")
        signed_in = afar.hilum(*login, "--code", code)
        assert signed_in.returncode == DONE, signed_in.stderr
        kept = Path(bare.variables["HOME"]) / ".config/hilum/token"
        assert kept.stat().st_mode & 0o077 == 0
        assert kept.read_text() not in signed_in.stdout
        assert afar.json("tenant", "list") == []
        listed = afar.json("switch", "list")
        assert [(each["id"], each["in_force"]) for each in listed] == [(stopped["id"], True)]
        assert afar.json("switch", "release", stopped["id"])["in_force"], "one person is not two"
        added = afar.json("tenant", "add", "lakeside", "--name", "Lakeside")
        assert added["sandbox"] is False
        synthetic = afar.refuses(
            "tenant", "add", "toy", "--name", "Toy", "--sandbox", saying="tenant_invalid"
        )
        assert "sandbox_in_production" in synthetic.stderr
    afar.refuses("tenant", "list", saying="no Hilum answers")


def set_up_second_factor(base: str, username: str) -> str:
    """Set a first authenticator app up at the staff's sign-in page; return a recovery code."""
    with httpx2.Client(base_url=base, follow_redirects=True, headers={"origin": base}) as browser:
        form = form_with(browser.get("/signin").text, "password")
        typed = {"username": username, "password": PASSWORD}
        page = browser.post(form.action, data=dict(form.fields) | typed).text
        secret = re.search(r'id="secret">([A-Z2-7]+)<', page)
        assert secret is not None, page
        code = policy.code_at(policy.from_base32(secret[1]), policy.step_of(datetime.now(UTC)))
        form = form_with(page, "code")
        done = browser.post(form.action, data=dict(form.fields) | {"code": code}).text
    return re.findall(r"<li><code>([0-9A-Z-]{14})</code>", done)[0]


def test_host_commands_say_that_there_are_no_tables_yet(bare: Shell) -> None:
    """Contract, Modes: whatever is tried first on a new host, the answer is what to do next."""
    for command in (
        ("switch", "engage", "--target", "platform", "--reason", "r", "--local"),
        ("switch", "release", "sw_1", "--local"),
        ("person", "reset", "per_1", "--local"),
        ("person", "deactivate", "per_1", "--local"),
        ("explain", "req_1", "--local"),
        ("audit", "verify"),
        ("keys", "rotate", "checkpoint"),
    ):
        refused = bare.refuses(*command, saying="migrations_missing")
        assert "hilum migrate" in refused.stderr, command


def without_key(shell: Shell) -> Shell:
    """The same host, on which the key was lost."""
    return Shell({name: value for name, value in shell.variables.items() if name != "HILUM_SECRET_KEY"})


def test_where_there_is_data_no_new_key_is_made(bare: Shell, hospital: Running, tmp_path: Path) -> None:
    """Decision 20: data opens with the key that it was sealed with; a new one would orphan it."""
    assert "hilum init" in without_key(bare).refuses("doctor", saying="settings_invalid").stderr
    bare.json("init", "--username", "ada", "--name", "Ada Admin", "--password", PASSWORD)
    lost = without_key(bare)

    for command in (
        ("init",),
        ("init", "--json"),
        ("doctor",),
        ("serve",),
        ("migrate",),
        ("audit", "verify"),
    ):
        refused = lost.refuses(*command, saying="secret_key_missing")
        assert "holds data already" in refused.stderr
        assert "Restore it from where you keep it" in refused.stderr
        assert refused.stdout == "", "no key is shown"
    lost.refuses("sandbox", "run", saying="secret_key_missing", HILUM_MODE="sandbox")
    assert not (Path(bare.variables["HILUM_DATA_DIR"]) / "secret-key").exists()
    short = lost.refuses("doctor", saying="secret_key_missing", HILUM_SECRET_KEY="short")
    assert "shorter than 32" in short.stderr

    sandbox = without_key(host(hospital))
    kept = tmp_path / "data"
    kept.mkdir()
    (kept / "secret-key").write_text("kept")
    at = {"HILUM_DATA_DIR": str(kept)}
    assert f"$(cat {kept}/secret-key)" in sandbox.refuses("doctor", saying="secret_key_missing", **at).stderr


@pytest.mark.parametrize(
    ("base", "exported"), [("http://127.0.0.1:8000", False), ("http://127.0.0.1:9000", True)]
)
def test_the_welcome_says_how_the_command_line_reaches_another_port(
    base: str,
    exported: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("HILUM_DATA_DIR", str(tmp_path))
    welcome(
        settings.read(
            KEY | {"HILUM_MODE": "sandbox", "HILUM_BASE_URL": base, "HILUM_DATA_DIR": str(tmp_path)}
        )
    )

    assert (f"export HILUM_API_URL={base}\n" in capsys.readouterr().out) is exported


class served:  # noqa: N801 - reads as a word
    """``hilum serve`` for a while."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell

    def __enter__(self) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("HILUM_")}
        self._process = launch(("serve",), kept | self._shell.variables, Path(os.devnull))
        self._wait()

    def _wait(self) -> None:
        begun = time.monotonic()
        while time.monotonic() - begun < 60:
            assert self._process.poll() is None, "it ended"
            url = f"{self._shell.variables['HILUM_BASE_URL']}/readyz"
            with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
            time.sleep(0.05)
        raise AssertionError("it never answered")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        assert self._process.wait(30) == 0


UNFIT: dict[str, dict[str, str]] = {
    "HILUM_BASE_URL": {"HILUM_BASE_URL": "http://hilum.example"},
    "HILUM_SECRET_KEY": {"HILUM_SECRET_KEY": "short"},
    "HILUM_WORKERS": {"HILUM_WORKERS": "many"},
    "HILUM_DATABASE_URL": {"HILUM_DATABASE_URL": "mysql://x"},
    "HILUM_TYPO": {"HILUM_TYPO": "1"},
    "HILUM_MODE": {"HILUM_MODE": "test"},
    "migrations_missing": {},
    "database_port_closed": {"HILUM_DATABASE_URL": "postgresql://hilum@127.0.0.1:1/hilum"},
}


@pytest.mark.parametrize(
    "saying", UNFIT if FULL else ("HILUM_BASE_URL", "migrations_missing", "database_port_closed")
)
def test_what_is_unfit_is_not_served(bare: Shell, saying: str) -> None:
    """Contract, Modes: production refuses a bad or missing secret, an http issuer beyond loopback, unknown settings, old data.

    Every fault of a setting: tests/unit/test_settings.py.
    """
    bare.refuses("serve", saying=saying, **UNFIT[saying])


def test_production_refuses_synthetic_hospitals_and_a_sandbox_a_shared_site(hospital: Running) -> None:
    """Contract, Modes and Origins."""
    shell = host(hospital)
    shell.refuses("serve", saying="sandbox_tenants", HILUM_MODE="production")
    shell.refuses("serve", saying="cookies", HILUM_SANDBOX_URL="http://127.0.0.1:8001")
    shell.refuses("serve", saying="HILUM_SANDBOX_PUBLIC", HILUM_LISTEN="0.0.0.0:8000")
    found = orjson.loads(shell.hilum("doctor", "--json", HILUM_MODE="production").stdout)
    assert any(not each["ok"] and "general" in each["next"] for each in found), found


def test_ones_own_data_is_loaded_whole_or_not_at_all_and_appears_in_the_simulator(
    hospital: Running, tmp_path: Path
) -> None:
    """C203: while the sandbox is served, through the gateway too."""
    shell, file, broken = host(hospital), tmp_path / "own.ndjson", tmp_path / "broken.ndjson"
    patient = {"resourceType": "Patient", "id": "own-1", "name": [{"family": "Quillon", "given": ["Bea"]}]}
    file.write_bytes(orjson.dumps(patient))
    broken.write_bytes(orjson.dumps(patient) + b'\n{"resourceType":"Patient","id":"own-2","gender":7}')

    async def reads(outside: Outside) -> int:
        bearer = (await outside.backend("general", "system/Patient.rs")).json()["access_token"]
        url = f"{hospital.tenant('general')['fhir']}/Patient/own-1"
        answer = await outside.http.get(url, headers={"authorization": f"Bearer {bearer}"})
        return int(answer.status_code)

    refused = shell.refuses("sandbox", "load", str(broken), saying="own_data_refused")
    assert "broken.ndjson, line 2" in refused.stderr
    assert "Patient.gender" in refused.stderr
    shell.refuses("sandbox", "load", str(file), "--hospital", "nowhere", saying="tenant_not_found")
    assert shell.hilum("sandbox", "load", str(tmp_path / "none.json")).returncode == MISUSED
    assert tell(hospital, reads) == 404

    for _ in range(2):
        assert shell.json("sandbox", "load", str(file)) == {"counts": {"Patient": 1}, "patients": ["own-1"]}

    assert tell(hospital, reads) == 200
    page = httpx2.get(f"{hospital.sandbox}/sandbox/h/general").text
    assert page.count("Bea Quillon") == 1


def test_what_is_kept_on_disk_is_its_owners_alone(hospital: Running) -> None:
    """C153: records and keys are for nobody else on the machine, whoever makes the file and whatever the umask was."""
    home = Path(hospital.environment["HILUM_DATA_DIR"])
    kept = [path for path in home.rglob("*") if path.suffix != ".log"]

    assert {"hilum.db", "general.db", "sandbox-credentials.json"} <= {path.name for path in kept}
    assert [path.name for path in kept if path.stat().st_mode & 0o077] == []


def _compares_scopes(installer: Shell, app: str, installation: str) -> None:
    """C66: an administrator compares the scopes of an app at their own hospital, and at no other."""
    compared = installer.json("app", "scopes", app, "--days", "30")
    assert (compared["installation"], compared["days"]) == (installation, 30)
    shown = installer.hilum("app", "scopes", app, "--tenant", "general").stdout
    assert "patient/Patient.rs" in shown
    assert "too early for a proposal" in shown
    installer.refuses("app", "scopes", app, "--tenant", "elsewhere", saying="no such hospital")
    assert installer.hilum("app", "scopes", app, "--days", "31").returncode == MISUSED


def test_an_app_goes_from_vendor_to_uninstalled_by_commands_alone(hospital: Running, tmp_path: Path) -> None:
    """C183, C1: each step by whoever has the right to it; errors name fields."""
    admin, reviewer = by(hospital, "admin.ferro", tmp_path), by(hospital, "reviewer.mensah", tmp_path)
    contacts = ("--support", "help@cli.example", "--security", "sec@cli.example")
    vendor = admin.json("vendor", "add", "By Command", *contacts)["id"]
    reviewer.refuses("vendor", "add", "By Command", *contacts, saying="not_permitted")
    about = (
        "--vendor",
        vendor,
        "--description",
        "One.",
        "--purpose",
        "To be told.",
        "--category",
        "scheduling",
    )
    app = admin.json("app", "add", "Commanded", *about)["id"]
    version = admin.json("app", "version", app, "1.0")["id"]
    described = tmp_path / "client.json"
    body: dict[str, Any] = {
        "app": app,
        "version": version,
        "client_name": "Commanded",
        "client_type": "confidential-symmetric",
        "deployment": "server",
        "redirect_uris": ["http://evil.example/*"],
        "scope": "launch/patient patient/Patient.rs",
    }
    described.write_bytes(orjson.dumps(body))
    faulty = admin.refuses("app", "client", str(described), saying="refused")
    assert "redirect_uris" in faulty.stderr
    described.write_text("{")
    assert admin.hilum("app", "client", str(described)).returncode == MISUSED
    admin.typed = orjson.dumps(body | {"redirect_uris": ["http://127.0.0.1:9009/callback"]}).decode()
    client = admin.json("app", "client", "-")
    assert client["client_secret"].startswith("hil_cs_")
    assert "without an end" in admin.hilum("client", "show", client["id"]).stdout
    renewed = admin.json("app", "secret", client["id"], "--overlap-s", "60")
    assert renewed["client_secret"] != client["client_secret"]
    unused = ("app", "propose-scopes", app, "--client", client["id"])
    assert admin.hilum(*unused).stdout.startswith("No call was permitted")
    admin.refuses(*unused, "--draft", "sub_never_emptied", saying="No call was permitted")
    ends = ("--environment", "sandbox", "--expires-at", ENDS)
    scopes = ("--scope", "launch/patient", "--scope", "patient/Patient.rs")
    admin_may = admin.hilum("app", "certify", version, *ends, *scopes, "--json")
    certified = (
        orjson.loads(admin_may.stdout)
        if admin_may.returncode == DONE
        else reviewer.json("app", "certify", version, *ends, *scopes)
    )
    installer = administrator(hospital, tmp_path)
    installed = installer.json("app", "install", app, "--tenant", "general", "--role", "patient")
    listed = installer.json("app", "installations", "--tenant", "general")
    assert any(each["id"] == installed["id"] for each in listed)
    narrowed = installer.json("app", "narrow", installed["id"], "--scope", "patient/Patient.rs")
    assert narrowed["scopes"] == ["launch/patient", "patient/Patient.rs"], "it can still be launched"
    _compares_scopes(installer, app, installed["id"])
    quota = ("app", "quota", app)
    assert admin.hilum(*quota, "--remove").returncode == MISUSED, "staff say at which hospital"
    assert installer.hilum(*quota, "--rate", "5", "--burst", "10").returncode == DONE
    assert installer.hilum(*quota, "--remove").returncode == DONE
    assert installer.hilum(*quota).returncode == MISUSED
    shown = admin.json("app", "show", app)
    assert {len(shown[part]) for part in ("versions", "clients", "certifications")} == {1}
    assert not [
        secret for secret in (client["client_secret"], renewed["client_secret"]) if secret in str(shown)
    ]
    assert "client_secret" not in shown["clients"][0]
    assert admin.json("app", "suspend", app, "--reason", "a test")["state"] == "suspended"
    assert admin.json("app", "resume", app, "--reason", "a test")["state"] == "active"
    assert installer.json("app", "uninstall", app)["removed_at"]
    installer.refuses("app", "uninstall", app, "--tenant", "general", saying="not installed")
    assert reviewer.json("app", "withdraw", certified["id"])["withdrawn_at"]
    reviewer.refuses("app", "show", "app_nobody", saying="not_found")


def test_a_refused_login_does_not_show_the_password_and_says_what_was_left_out(
    hospital: Running, tmp_path: Path
) -> None:
    """Once for all: after a few wrong passwords the platform makes everybody here wait."""
    shell = Shell({"HILUM_API_URL": hospital.base, "HOME": str(tmp_path)})
    shell.refuses("tenant", "list", saying="no API token")

    wrong = shell.refuses(*LOGIN, "wrong password here", saying="wrong_credentials")
    assert "wrong password here" not in wrong.stdout + wrong.stderr
    assert "--tenant HOSPITAL" not in wrong.stderr
    nowhere = ("login", "--username", "admin.hall", "--password", "sandbox-admin.hall")
    assert "--tenant HOSPITAL" in shell.refuses(*nowhere, saying="wrong_credentials").stderr


def test_people_and_hospitals_are_looked_after_by_commands(hospital: Running, tmp_path: Path) -> None:
    """C183: lists, shows, adds, changes; unknown names are refused with a code."""
    admin = by(hospital, "admin.ferro", tmp_path)
    assert {each["id"] for each in admin.json("tenant", "list")} >= {"general", "children", "clinic"}
    assert admin.json("tenant", "show", "general")["sandbox"] is True
    assert "general" in admin.hilum("tenant", "list").stdout
    admin.refuses("tenant", "show", "nowhere", saying="tenant_not_found")
    malformed = admin.refuses(
        "tenant", "add", "Not An Id", "--name", "x", "--sandbox", saying="tenant_invalid"
    )
    assert "tenant_id_malformed" in malformed.stderr
    added = admin.json("tenant", "add", "lakeside", "--name", "Lakeside", "--sandbox")
    assert added["active"]
    assert admin.json("tenant", "change", "lakeside", "--name", "Lakeside East")["name"] == "Lakeside East"
    second = by(hospital, "security.ito", tmp_path)
    asked = admin.json("tenant", "system-client", "lakeside", "--type", "ehr", "--name", "E")
    agreed = second.json("approval", "approve", asked["approval"]["id"])
    assert asked["secret_start"]
    assert agreed["secret_end"]
    renewed = admin.json("app", "secret", agreed["target"])["approval"]["id"]
    assert second.json("approval", "refuse", renewed)["state"] == "refused"
    assert "waits for a second person" in admin.hilum("app", "secret", agreed["target"]).stderr
    moving = ("tenant", "upstream", "lakeside", "--url", "https://fhir.lakeside.example/r4")
    moved = admin.json(*moving)["approval"]["id"]
    assert second.json("approval", "show", moved)["order"]["upstream"]["kind"] == "http"
    admin.refuses("approval", "approve", moved, saying="asked_by_you")
    assert second.json("approval", "approve", moved)["state"] == "approved"
    assert admin.json("tenant", "show", "lakeside")["upstream_url"] == moving[-1]
    admin.refuses("tenant", "upstream", "lakeside", "--url", "ftp://x", saying="tenant_invalid")
    assert admin.json("tenant", "change", "lakeside", "--inactive")["active"] is False
    who = ("person", "add", "n.command", "--tenant", "general", "--name", "Nel Command")
    unknown = admin.refuses(*who, "--role", "wizard", saying="person_invalid")
    assert "role_unknown" in unknown.stderr
    person = admin.json(*who, "--role", "nurse", "--fhir-user", "Practitioner/n-command")
    admin.refuses(*who, "--role", "nurse", saying="refused")
    listed = admin.json("person", "list", "--tenant", "general")
    assert person["id"] in {each["id"] for each in listed}
    assert person["enrolment"]["url"].startswith(hospital.base)
    new = ("--password", PASSWORD, "--current", "nobody knows")
    admin.refuses("person", "password", person["id"], *new, saying="not_permitted")
    again = admin.json("person", "reset", person["id"])
    assert again["enrolment"]["url"] != person["enrolment"]["url"], "nobody has set a password yet"
    admin.refuses("person", "charts", person["id"], "--chart", "p1", saying="charts_invalid")
    assert "ended" in admin.json("person", "sign-out", person["id"])
    assert admin.json("person", "deactivate", person["id"])["active"] is False
    admin.refuses("person", "deactivate", "per_nobody", saying="person_not_found")
    assert "none" in admin.hilum("person", "list", "--tenant", "lakeside").stdout
    stranger = Shell(admin.variables | {"HILUM_API_TOKEN": "hil_pat_x"})
    assert "hilum login" in stranger.refuses("person", "list", saying="token_invalid").stderr
    away = Shell(admin.variables | {"HILUM_API_URL": f"http://127.0.0.1:{free_port()}"})
    away.refuses("person", "list", saying="no Hilum answers")
    wrong_door = Shell(admin.variables | {"HILUM_API_URL": hospital.sandbox})
    wrong_door.refuses("person", "list", saying="no Hilum answers")


def test_people_read_names_and_scripts_read_ids(hospital: Running, tmp_path: Path) -> None:
    """C145, C200: whoever agrees is to ask a colleague, so the colleague's name stands there; JSON keeps the ids."""
    admin, miriam = by(hospital, "admin.ferro", tmp_path), administrator(hospital, tmp_path)
    auditor = by(hospital, "auditor.quispe", tmp_path)
    asked = admin.json("tenant", "system-client", "general", "--type", "ehr", "--name", "Ward system")[
        "approval"
    ]
    switch = admin.json(
        "switch",
        "engage",
        "--target",
        "vendor",
        "--key",
        vendor_of(admin),
        "--mode",
        "observe",
        "--reason",
        "a drill",
    )

    for reader in (admin, miriam):
        assert "Livia Ferro" in reader.hilum("approval", "list").stdout
        assert (
            f"asked_by           Livia Ferro ({asked['asked_by']})"
            in reader.hilum("approval", "show", asked["id"]).stdout
        )
    assert "Livia Ferro" in auditor.hilum("switch", "list").stdout
    assert f"Livia Ferro ({switch['engaged_by']})" in auditor.hilum("switch", "show", switch["id"]).stdout
    assert "Livia Ferro" in auditor.hilum("audit", "events", "--action", "controls.switch.engage").stdout
    assert miriam.json("approval", "list")[-1]["asked_by"] == asked["asked_by"]
    agreed = miriam.json("approval", "approve", asked["id"])
    shown = admin.hilum("approval", "show", asked["id"]).stdout
    assert f"target             Ward system ({agreed['target']})" in shown, (
        "the asker finds the client that there is now"
    )
    assert "decided_by         " in shown
    assert "\nasked: client_name Ward system\n" in shown, "each field that is agreed to has a line of its own"
    admin.json("switch", "release", switch["id"])
    by(hospital, "security.ito", tmp_path).json("switch", "release", switch["id"])


def vendor_of(shell: Shell) -> str:
    return str(shell.json("vendor", "list")[0]["id"])


def test_an_app_is_asked_for_by_its_name_and_declined(hospital: Running, tmp_path: Path) -> None:
    """C183, C214."""
    miriam = administrator(hospital, tmp_path)
    assert miriam.json("service-owner", "unanswered") == [], "at her own hospital, which she need not name"
    asked = miriam.json("request", "add", "Lumen Chart", "--role", "front_desk", "--reason", "at the desk")
    assert miriam.json("request", "show", asked["id"])["roles"] == ["front_desk"]
    assert [request["id"] for request in miriam.json("request", "list", "--own")] == [asked["id"]]
    miriam.refuses("request", "decline", asked["id"], "--reason", "no", saying="a colleague must decide")
    miriam.json("request", "withdraw", asked["id"])


def test_commands_name_apps_vendors_hospitals_clients_and_people_by_name_or_id(
    hospital: Running, tmp_path: Path
) -> None:
    """C183: one resolver for every verb, which says when a name has no match or several."""
    admin, miriam = by(hospital, "admin.ferro", tmp_path), administrator(hospital, tmp_path)
    contacts = ("--support", "help@named.example", "--security", "sec@named.example")
    vendor = admin.json("vendor", "add", "Named By People", *contacts)["id"]
    about = ("--description", "One.", "--purpose", "To be named.", "--category", "scheduling")
    app = admin.json("app", "add", "Rota Board", "--vendor", "Named By People", *about)
    version = admin.json("app", "version", "Rota Board", "1.0")
    client: dict[str, Any] = {
        "app": "Rota Board",
        "version": "1.0",
        "client_name": "Rota Board, web",
        "client_type": "public",
        "deployment": "browser",
        "redirect_uris": ["http://127.0.0.1:9009/callback"],
        "scope": "launch/patient patient/Patient.rs",
    }
    clients = []
    for name in ("Rota Board, web", "Twin", "Twin"):
        admin.typed = orjson.dumps(client | {"client_name": name}).decode()
        clients.append(admin.json("app", "client", "-")["id"])

    assert app["vendor"] == vendor
    assert admin.json("app", "show", "Rota Board")["id"] == app["id"] == version["app"]
    assert admin.json("app", "tier", "Rota Board@1.0") == admin.json("app", "tier", version["id"])
    assert admin.json("client", "credentials", "Rota Board, web") == []
    assert admin.json("client", "show", "Rota Board, web")["version"] == version["id"]
    assert {each["id"] for each in admin.json("client", "list", "Rota Board")} == set(clients)
    name = admin.json("tenant", "show", "general")["name"]
    assert admin.json("tenant", "show", name)["id"] == "general"
    assert admin.json("person", "list", "--tenant", name) == miriam.json("person", "list")
    ends = ("--environment", "sandbox", "--expires-at", ENDS)
    scopes = ("--scope", "launch/patient", "--scope", "patient/Patient.rs")
    by(hospital, "reviewer.mensah", tmp_path).json("app", "certify", "Rota Board@1.0", *ends, *scopes)
    facility = miriam.json(
        "facility", "add", "Named Clinic", "--legal-entity", "G", "--reference", "Location/n"
    )
    limits = ("--role", "patient", "--role", "nurse", "--facility", "Named Clinic")
    installed = miriam.json("app", "install", "Rota Board", *limits)
    assert (installed["app"], installed["facilities"]) == (app["id"], [facility["id"]])
    assert miriam.json("installation", "show", "Rota Board")["id"] == installed["id"]
    assert miriam.json("app", "narrow", "Rota Board", "--role", "patient")["roles"] == ["patient"]
    shown = miriam.hilum("app", "installations").stdout
    assert "Rota Board" in shown
    assert "Named Clinic" in shown
    assert app["id"] not in shown
    assert f"vendor             Named By People ({vendor})" in admin.hilum("app", "show", app["id"]).stdout
    stopped = (
        "switch",
        "engage",
        "--target",
        "app_tenant",
        "--key",
        f"Rota Board/{name}",
        "--reason",
        "a drill",
    )
    security = by(hospital, "security.ito", tmp_path)
    switch = security.json(*stopped)
    assert switch["key"] == f"{app['id']}/general"
    released = security.hilum("switch", "release", switch["id"]).stdout
    assert f"key                Rota Board/general ({app['id']}/general)" in released
    person = miriam.json(
        "person", "add", "z.named", "--name", "Z", "--role", "nurse", "--fhir-user", "Practitioner/z-named"
    )
    assert admin.json("person", "deactivate", "z.named@general")["id"] == person["id"]
    assert miriam.json("app", "uninstall", "Rota Board")["id"] == installed["id"]

    for words, saying in (
        (("app", "show", "Rota board"), "no app is named 'Rota board' (app_not_found)"),
        (("app", "list-of", "Rota Board"), ""),
        (("vendor", "members", "Nobody Inc"), "no vendor is named 'Nobody Inc' (vendor_not_found)"),
        (("person", "reset", "nobody.here"), "no person is named 'nobody.here' (person_not_found)"),
        (("app", "tier", "Rota Board@9"), "no version is named 'Rota Board@9' (version_not_found)"),
        (
            ("facility", "remove", "Named Clinic", "--tenant", "children"),
            "no facility is named 'Named Clinic' at children",
        ),
        (
            ("app", "installations", "--tenant", "No Such Hospital"),
            "no hospital is named 'No Such Hospital' (tenant_not_found)",
        ),
        (("app", "uninstall", "Rota Board", "--tenant", "general"), "Rota Board is not installed at general"),
    ):
        if saying:
            admin.refuses(*words, saying=saying)
        else:
            assert admin.hilum(*words).returncode == MISUSED
    several = admin.refuses("client", "credentials", "Twin", saying="2 clients are named 'Twin'").stderr
    assert all(each in several for each in clients[1:])
    assert "Rota Board, sandbox" in several


def test_an_identity_provider_is_named_by_its_name(hospital: Running, tmp_path: Path) -> None:
    """C183."""
    admin, second = by(hospital, "admin.ferro", tmp_path), by(hospital, "security.ito", tmp_path)
    origin, file = "https://login.named.example", tmp_path / "provider.json"
    allowed = admin.json("idp", "allow", origin)
    second.json("approval", "approve", allowed["approval"]["id"])
    table = [{"value": "nurses", "role": "nurse"}]
    described = {"name": "Named Accounts", "issuer": origin, "client_id": "hilum", "roles": ["nurse"]}
    file.write_bytes(orjson.dumps(described | {"role_table": table}))
    asker = Shell(admin.variables, typed="a secret of the client\n")
    waiting = asker.hilum("idp", "add", str(file), "--tenant", "clinic", "--secret", "--json")
    assert waiting.returncode == DONE, waiting.stderr
    (approval,) = [each for each in second.json("approval", "list") if each["about"] == "Named Accounts"]
    second.json("approval", "approve", approval["id"])

    by_name = admin.json("idp", "show", "named accounts")

    assert by_name == admin.json("idp", "show", by_name["id"])
    admin.refuses("idp", "try", "Nobody's Accounts", saying="no identity provider is named")
    assert admin.json("idp", "off", "Named Accounts")["active"] is False
    admin.json("idp", "disallow", origin)


def test_contacts_are_named_by_their_addresses_and_domains_by_their_names(
    hospital: Running, tmp_path: Path
) -> None:
    """C183."""
    admin = by(hospital, "admin.ferro", tmp_path)
    admin.json(
        "vendor", "add", "Mail Bearers", "--support", "help@named.example", "--security", "sec@named.example"
    )

    contact = ("contact", "add", "ada@named.example", "--vendor", "Mail Bearers", "--kind")
    added = admin.json(*contact, "security")["id"]
    assert admin.json("contact", "link", "Ada@named.example")["id"] == added
    admin.json(*contact, "support")
    admin.refuses("contact", "remove", "ada@named.example", saying="2 contacts have the address")
    admin.refuses("contact", "remove", "bob@named.example", saying="no contact has the address")
    domain = admin.json("vendor", "domain", "add", "Mail Bearers", "named.example")["id"]
    assert admin.json("vendor", "domain", "remove", "Mail Bearers", "named.example")["id"] == domain


def test_a_long_list_of_what_waits_is_cut_and_says_so(hospital: Running, tmp_path: Path) -> None:
    """C183: as the audit's lists, so that a script knows."""
    admin = by(hospital, "admin.ferro", tmp_path)
    waiting = [
        admin.json("tenant", "system-client", "clinic", "--type", "ehr", "--name", f"E{n}") for n in range(2)
    ]

    cut = admin.hilum("approval", "list", "--tenant", "clinic", "--limit", "1", "--json")

    assert len(orjson.loads(cut.stdout)) == 1
    assert "there are more: use --limit or --all" in cut.stderr
    for more in ((), ("--all",), ("--limit", "2")):
        whole = admin.hilum("approval", "list", "--tenant", "clinic", "--json", *more)
        assert [each["id"] for each in orjson.loads(whole.stdout)] == [
            each["approval"]["id"] for each in waiting
        ]
        assert whole.stderr == ""
    for each in waiting:
        admin.json("approval", "refuse", each["approval"]["id"])


def test_a_servers_setting_that_stays_as_it_is_waits_for_nobody_and_says_so(
    hospital: Running, tmp_path: Path
) -> None:
    admin = by(hospital, "admin.ferro", tmp_path)

    same = admin.hilum("tenant", "upstream", "clinic")

    assert same.returncode == DONE
    assert "nothing changes" in same.stderr
    assert admin.json("approval", "list", "--tenant", "clinic") == []


def test_a_switch_looks_alike_from_the_host_and_from_afar(hospital: Running, tmp_path: Path) -> None:
    """C138: a script that falls back to --local reads the same fields in the same form."""
    afar, on_host = by(hospital, "security.ito", tmp_path), host(hospital)
    order = (
        "switch",
        "engage",
        "--target",
        "app_tenant",
        "--key",
        f"{app_of(afar)}/clinic",
        "--reason",
        "a drill",
    )

    here = on_host.json(*order, "--local")

    assert here == afar.json("switch", "show", here["id"])
    released = on_host.json("switch", "release", here["id"], "--local")
    assert released == afar.json("switch", "show", here["id"])
    assert (
        "in_force           False"
        in on_host.hilum("switch", "release", afar.json(*order)["id"], "--local").stdout
    )


def app_of(shell: Shell) -> str:
    return str(shell.json("app", "list")[0]["id"])


def test_a_hospitals_administrator_sees_which_scopes_may_be_installed(
    hospital: Running, tmp_path: Path
) -> None:
    """C147: certified scopes are listed for whoever installs, without the app's clients, and in the refusal of others."""
    miriam, admin = administrator(hospital, tmp_path), by(hospital, "admin.ferro", tmp_path)
    app = next(each["id"] for each in miriam.json("app", "list") if each["name"] == "Lumen Chart")

    shown = miriam.hilum("app", "show", app)
    wider = ("app", "install", app, "--role", "nurse", "--scope", "patient/Patient.cruds")
    refused = miriam.refuses(*wider, saying="Not certified: patient/Patient.cruds. Certified: launch")

    assert shown.returncode == DONE, shown.stderr
    assert "\n  patient/Patient.rs\n  patient/Observation.rs" in shown.stdout
    assert "clients" not in miriam.json("app", "show", app)
    assert admin.json("app", "show", app)["clients"]
    assert "scopes_not_certified" in refused.stderr
    assert "Lumen Chart" in miriam.hilum("app", "installations").stdout, "people read names"
    assert admin.hilum("app", "install", app, "--role", "nurse").returncode == MISUSED, (
        "staff have no hospital"
    )


def test_a_hospitals_administrator_need_not_say_which_hospital(hospital: Running, tmp_path: Path) -> None:
    """C183: what is left out is one's own hospital; another's stays closed."""
    miriam, admin = administrator(hospital, tmp_path), by(hospital, "admin.ferro", tmp_path)

    assert miriam.json("person", "list") == admin.json("person", "list", "--tenant", "general")
    nurse = miriam.json(
        "person", "add", "o.own", "--name", "Olga Own", "--role", "nurse", "--fhir-user", "Practitioner/o-own"
    )
    assert nurse["tenant"] == "general"
    assert {each["tenant"] for each in miriam.json("audit", "events")} == {"general"}
    assert {each["tenant"] for each in miriam.json("audit", "accesses")} <= {"general"}
    assert {each["role"] for each in admin.json("person", "list")} >= {"platform_admin"}, "the staff's own"
    for noun in (("person", "list"), ("audit", "events"), ("audit", "accesses")):
        miriam.refuses(*noun, "--tenant", "children", saying="not")


def test_evidence_is_held_from_a_day_on_and_for_hospitals_that_are_there(
    hospital: Running, tmp_path: Path
) -> None:
    placer, second = by(hospital, "security.ito", tmp_path), by(hospital, "security.bauer", tmp_path)
    place = ("hold", "place", "--reason", "case 4711")

    placer.refuses(*place, "--tenant", "nowhere", saying="There is no such hospital")
    for wrong in ("yesterday", "2026-13-01", "2026-01-01T08:00:00", "20260101"):
        assert placer.hilum(*place, "--since", wrong).returncode == MISUSED, wrong
    placer.refuses(*place, "--since", "2999-01-01", saying="is in the future")
    assert placer.json("hold", "list") == [], "one that begins later keeps nothing until then"
    held = placer.json(*place, "--since", "2026-01-01", "--tenant", "general")
    assert (held["since"], held["tenant"]) == ("2026-01-01T00:00:00Z", "general")
    moment = placer.json(*place, "--since", "2026-01-01T08:00:00+02:00")
    assert moment["since"] == "2026-01-01T06:00:00Z"
    placer.refuses("hold", "release", held["id"], saying="second_person_needed")
    for each in (held, moment):
        assert second.json("hold", "release", each["id"])["released_by"]


def test_a_colleague_comes_in_by_two_people_and_the_host_lets_somebody_back_in(
    hospital: Running, tmp_path: Path
) -> None:
    """C183, C200: asked for, listed, approved or refused by commands; the host alone resets and releases what is narrow."""
    first, second = by(hospital, "admin.ferro", tmp_path), by(hospital, "security.ito", tmp_path)
    new = ("person", "add", "r.command", "--name", "Rui Command", "--role", "reviewer")
    asked = first.json(*new)
    waiting = asked["approval"]["id"]
    assert waiting in {each["id"] for each in second.json("approval", "list")}
    first.refuses("approval", "approve", waiting, saying="asked_by_you")
    opened = second.json("approval", "approve", waiting)
    assert opened["enrolment"]["url"].startswith(f"{hospital.base}/enrol/hil_ln_")
    second.refuses("approval", "approve", waiting, saying="approval_over")
    other = first.json("person", "reset", opened["target"])["approval"]["id"]
    assert second.json("approval", "refuse", other)["state"] == "refused"
    on_host = host(hospital)
    assert on_host.json("person", "reset", opened["target"], "--local")["enrolment"]["url"].startswith(
        hospital.base
    )
    on_host.refuses("person", "reset", "per_nobody", "--local", saying="person_not_found")
    assert on_host.json("person", "deactivate", opened["target"], "--local")["active"] is False
    on_host.refuses("person", "deactivate", opened["target"], "--local", saying="person_inactive")
    order = ("switch", "engage", "--target", "person", "--key", opened["target"], "--reason", "a drill")
    told = first.hilum(*order).stdout
    assert re.search(r"in force at every worker \(\d+\), at the last one after \d+ ms", told)
    assert "open" in told.rpartition("ms")[2], "what was open to it is counted"
    assert [
        each["action"]
        for each in first.json("audit", "events", "--since", "10m", "--action", "controls.switch.engage")
    ]
    misread = first.hilum("audit", "events", "--since", "yesterday")
    assert misread.returncode == 2
    assert "such as 30m, 2h or 7d" in misread.stderr
    narrow = first.json("switch", "list")[0]["id"]
    assert on_host.json("switch", "release", narrow, "--local")["released_by"].startswith("host:")
    wide = first.json(
        "switch",
        "engage",
        "--target",
        "resource_type",
        "--key",
        "Media",
        "--mode",
        "observe",
        "--reason",
        "x",
    )
    on_host.refuses("switch", "release", wide["id"], "--local", saying="not_permitted")
    for one in (first, second):
        assert one.json("switch", "release", wide["id"])["id"] == wide["id"]
    mother = next(
        each
        for each in first.json("person", "list", "--tenant", "general")
        if each["username"] == "maria.santos"
    )
    own, *wards = mother["patients"]
    ends = first.json("person", "charts", mother["id"], "--chart", own, "--chart", f"{wards[0]}=2044-01-01")
    assert [each["patient"] for each in ends["charts"]] == [own, wards[0]]
    assert ends["charts"][1]["until"].startswith("2044-01-01")
    first.refuses("person", "charts", mother["id"], "--chart", wards[0], saying="charts_invalid")
    assert first.hilum("person", "charts", mother["id"], "--chart", f"{own}=soon").returncode == MISUSED
    first.json(
        "person", "charts", mother["id"], *(arg for each in (own, *wards) for arg in ("--chart", each))
    )


def test_a_switch_is_engaged_listed_shown_and_released_by_commands(hospital: Running, tmp_path: Path) -> None:
    """C138, C143: a wide one takes two people; the host is never the second; what is malformed names its field."""
    first, second = by(hospital, "security.ito", tmp_path), by(hospital, "security.bauer", tmp_path)
    on_host = host(hospital)
    order = ("switch", "engage", "--target", "resource_type", "--key", "Media", "--reason", "a drill")
    made = first.json(*order, "--mode", "observe")
    assert made["in_force"] and made["mode"] == "observe"  # noqa: PT018
    assert made["id"] in {each["id"] for each in first.json("switch", "list")}
    assert first.json("switch", "show", made["id"])["key"] == "Media"
    assert first.json("switch", "release", made["id"])["in_force"]
    first.refuses("switch", "release", made["id"], saying="asked_by_you")
    assert not second.json("switch", "release", made["id"])["in_force"]
    second.refuses("switch", "release", made["id"], saying="switch_over")
    on_host.refuses(
        "switch",
        "engage",
        "--target",
        "person",
        "--key",
        "per_x",
        "--reason",
        "r",
        "--local",
        saying="not_found",
    )
    malformed = first.refuses(
        "switch", "engage", "--target", "app_tenant", "--key", "x", "--reason", "r", saying="refused"
    )
    assert "APP/HOSPITAL" in malformed.stderr, "who stops an app in haste reads what to type"
    assert first.hilum("switch", "engage", "--target", "moon", "--reason", "r").returncode == MISUSED
    when = ("--expires-at", "tomorrow")
    assert first.hilum(*order, *when).returncode == MISUSED
    first.refuses(*order, "--expires-at", "2020-01-01T00:00:00+0000", saying="refused")
    by(hospital, "auditor.quispe", tmp_path).refuses(*order, saying="not_permitted")


def test_a_switch_engaged_on_the_host_reaches_every_worker(hospital: Running, tmp_path: Path) -> None:
    """C138, C139, C148: without the network, as ``host:<user>``; the same refusals as over the API, and a report that can be kept."""
    on_host, staff = host(hospital), by(hospital, "security.ito", tmp_path)

    async def story(outside: Outside) -> None:
        held = await outside.grant(tenant="clinic")
        key = f"{(await outside.app_of('bench-symmetric'))['app']}/clinic"
        order = ("switch", "engage", "--target", "app_tenant", "--key", key, "--reason", "a drill", "--local")
        made = await asyncio.to_thread(on_host.json, *order)
        await until_all(lambda: outside.read(held), lambda answer: answer.status_code == 403)
        signed = await asyncio.to_thread(staff.json, "switch", "report", made["id"])
        assert signed["report"]["verdict"] == "contained"
        kept, changed = tmp_path / "report.json", tmp_path / "changed.json"
        kept.write_text(orjson.dumps(signed).decode())
        changed.write_text(orjson.dumps(signed).decode().replace("a drill", "nothing"))
        verified = await asyncio.to_thread(on_host.hilum, "switch", "verify-report", str(kept))
        assert (verified.returncode, verified.stdout.strip()) == (0, "genuine")
        verified = await asyncio.to_thread(on_host.hilum, "switch", "verify-report", str(changed))
        assert (verified.returncode, verified.stdout.strip()) == (1, "NOT GENUINE")
        page = await asyncio.to_thread(staff.hilum, "switch", "report", made["id"])
        assert page.stdout.startswith("CONTAINED: no answer left")
        released = await asyncio.to_thread(staff.json, "switch", "release", made["id"])
        assert not released["in_force"]

    tell(hospital, story)


def test_a_request_is_explained_by_its_id_here_and_from_afar(hospital: Running, tmp_path: Path) -> None:
    """C69: a refusal at the gateway and one at the token endpoint, by API and on the host, word for word the same."""

    async def story(outside: Outside) -> list[str]:
        grant = await outside.grant()
        refused = await outside.read(grant, "Condition?patient=x")
        token = await grant.client.token(grant_type="authorization_code", code="x", redirect_uri="x")
        launch = await outside.open_launch("lumen-chart", role="analyst")
        api = await outside.api("GET", "/people?tenant=general", by="reviewer.mensah")
        return [each.headers["x-request-id"] for each in (refused, token, launch, api)]

    gateway, token, launch, forbidden = tell(hospital, story)
    auditor, on_host = by(hospital, "auditor.quispe", tmp_path), host(hospital)
    for request in (gateway, token, launch, forbidden):
        afar = auditor.json("explain", request)
        assert afar["sentences"], request
        here = on_host.json("explain", request, "--local")
        assert [here[each] for each in ("why", "about", "sentences")] == [
            afar[each] for each in ("why", "about", "sentences")
        ]
        said = auditor.hilum("explain", request).stdout.strip().splitlines()
        facts, sentences = said[: -len(afar["sentences"])], "\n".join(said[-len(afar["sentences"]) :])
        ids = re.sub(r"\b[A-Z][\w ]*? \((\w+_[0-9a-z]{26})\)", r"\1", sentences)
        assert ids.splitlines() == afar["sentences"]
        assert [each.partition(":")[0] for each in facts] == [
            each["name"] for each in afar["why"] + afar["about"]
        ]
        assert any(each.startswith("Refused because: ") for each in facts)
        assert any("Testbench (app_" in each for each in said) or request in {launch, forbidden}
    assert "scope" in auditor.hilum("explain", gateway).stdout
    refused = auditor.hilum("explain", launch).stdout
    assert re.search(r"^App: Lumen Chart \(app_\w+\)$", refused, re.MULTILINE)
    assert "Role: analyst" in refused
    assert "Who can change it: The administrator of Meridian General Hospital" in refused
    assert "Asked for: GET /api/v1/people" in auditor.hilum("explain", forbidden).stdout
    auditor.refuses("explain", "req_nobody", saying="request_unknown")
    on_host.refuses("explain", "req_nobody", "--local", saying="request_unknown")
    by(hospital, "reviewer.mensah", tmp_path).refuses("explain", gateway, saying="not_permitted")


def test_the_record_is_read_and_verified_by_commands(hospital: Running, tmp_path: Path) -> None:
    """C152: verify says how much it read and what no checkpoint covers yet; the lists go by who may read them."""
    on_host, auditor = host(hospital), by(hospital, "auditor.quispe", tmp_path)
    found = on_host.json("audit", "verify")
    assert found["intact"]
    assert found["records"] > 0
    assert found["checkpoints"] > 0
    assert 0 < found["anchored"] <= found["checkpoints"]
    assert "intact" in on_host.hilum("audit", "verify").stdout
    copy = tmp_path / "anchor.log"
    copy.write_bytes((hospital.home / "audit-anchor.log").read_bytes())
    assert on_host.json("audit", "verify", "--anchor", str(copy))["intact"]
    copy.write_text(f"99999999 2026-01-01T00:00:00+00:00 {'0' * 64}\n")
    cut = on_host.hilum("audit", "verify", "--anchor", str(copy))
    assert cut.returncode == 1
    assert "checkpoint 99999999 was anchored at 2026-01-01 00:00:00 UTC and is gone" in cut.stdout
    on_host.refuses("audit", "verify", "--anchor", str(tmp_path / "none"), saying="anchor_not_found")
    auditor.json("audit", "events", "--action", "audit")
    told = auditor.json("audit", "events", "--action", "audit")
    assert {"audit.chain.verify", "audit.event.list"} <= {each["action"] for each in told}
    assert any(each["actor"].startswith("host:") for each in told)
    assert auditor.json("audit", "events", "--action", "signin.password.set")
    assert isinstance(auditor.json("audit", "accesses", "--tenant", "general"), list)
    by(hospital, "reviewer.mensah", tmp_path).refuses("audit", "accesses", saying="not_permitted")
    Shell(on_host.variables | {"HILUM_DATABASE_URL": "postgresql://hilum@127.0.0.1:1/x"}).refuses(
        "audit", "verify", saying="database_port_closed"
    )


@pytest.mark.parametrize("address", ["junk", "http://[::1", "ftp://x", "http://127.0.0.1:1"])
def test_where_no_platform_can_be_is_said_in_a_sentence(tmp_path: Path, address: str) -> None:
    far = Shell({"HILUM_API_URL": address, "HILUM_API_TOKEN": "hil_pat_whatever", "HOME": str(tmp_path)})

    far.refuses("app", "list", saying=f"no Hilum answers at {address}")


def test_a_kept_token_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    kept = tmp_path / ".config" / "hilum" / "token"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"\xff\xfe")

    Shell({"HOME": str(tmp_path)}).refuses("app", "list", saying="no API token")


def test_a_token_that_cannot_be_kept_is_said_in_a_sentence(hospital: Running, tmp_path: Path) -> None:
    (tmp_path / ".config").write_text("no folder")
    staff = next(each for each in hospital.card["staff"] if each["role"] == "auditor")
    far = Shell({"HILUM_API_URL": hospital.base, "HOME": str(tmp_path)})

    words = ("login", "--username", staff["username"], "--password", staff["password"])
    far.refuses(*words, saying="the token cannot be kept")


def test_a_hospitals_language_is_that_of_its_pages_within_a_moment(hospital: Running, tmp_path: Path) -> None:
    """C87: each worker reads it from its snapshot, and no page from the database."""
    root = by(hospital, "admin.ferro", tmp_path)

    def spoken() -> str:
        url = f"{hospital.base}/t/general/signin"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return str(answer.headers["content-language"])

    def within_a_moment(wanted: str) -> bool:
        row, begun = 0, time.monotonic()
        while row < EVERY_WORKER and time.monotonic() - begun < PATIENCE_S:
            row = row + 1 if spoken() == wanted else 0
        return row == EVERY_WORKER

    before = spoken()
    root.hilum("tenant", "change", "general", "--language", "es", "--time-zone", "Europe/Madrid")
    changed = within_a_moment("es")
    root.hilum("tenant", "change", "general", "--language", "", "--time-zone", "")

    assert before == "en"
    assert changed
    assert within_a_moment("en")
    root.refuses("tenant", "change", "general", "--time-zone", "Madrid", saying="Europe/Madrid")
