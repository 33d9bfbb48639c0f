"""Settings: environment variables only, read once in app."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from hilum.foundation.kernel.errors import Invalid

SECRET_KEY_MIN = 32
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]", "::1"})
WORKERS_BOUND = 64
OFF = "off"
MAIL_ADDRESS = re.compile(r"[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,189}")
NUMBERS = {
    "HILUM_WORKERS": (1, WORKERS_BOUND),
    "HILUM_CONNECTIONS": (128, 65_536),
    "HILUM_SOURCE_REQUESTS": (16, 65_536),
    "HILUM_KEEP_ACCESSES_DAYS": (30, 36_500),
    "HILUM_KEEP_EVENTS_DAYS": (30, 36_500),
    "HILUM_KEEP_LAUNCHES_DAYS": (1, 36_500),
    "HILUM_KEEP_SNAPSHOTS_DAYS": (1, 36_500),
    # At most the life of a refresh token: beyond it no reuse is left to detect.
    "HILUM_KEEP_USED_TOKENS_DAYS": (1, 180),
    "HILUM_SMTP_PORT": (1, 65_535),
}
"""Settings that are integers, with their least and greatest values."""


class Mode(StrEnum):
    SANDBOX = "sandbox"
    PRODUCTION = "production"


class SmtpTls(StrEnum):
    """How the connection to the mail server is encrypted. The server's certificate is always verified."""

    STARTTLS = "starttls"
    IMPLICIT = "implicit"
    NONE = "none"
    """Not encrypted; allowed only for a mail server on this machine."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting for the reference page. ``default`` is shown as written; secrets have none."""

    name: str
    default: str
    meaning: str


SETTINGS = (
    Setting(
        "HILUM_MODE", "production", "`sandbox` (synthetic tenants, published credentials) or `production`."
    ),
    Setting(
        "HILUM_BASE_URL",
        "http://127.0.0.1:8000",
        "The platform's origin, as browsers and apps reach it, without a path.",
    ),
    Setting(
        "HILUM_SANDBOX_URL",
        "http://localhost:8001",
        "Origin of the sandbox hospitals and sample apps; another site than the platform.",
    ),
    Setting(
        "HILUM_DATABASE_URL",
        "sqlite:///.hilum/hilum.db",
        "`sqlite:///path` or `postgresql://user:password@host/name`.",
    ),
    Setting(
        "HILUM_DATA_DIR",
        ".hilum",
        "Directory of the SQLite files, the audit journal and the embedded FHIR stores.",
    ),
    Setting(
        "HILUM_AUDIT_ANCHOR",
        "",
        "Where the audit's checkpoints are also written, outside the database: a file, preferably on another volume, or a pipe; "
        "when empty, `audit-anchor.log` in the data directory.",
    ),
    Setting(
        "HILUM_SECRET_KEY",
        "",
        "The key-encryption key: 32 or more random characters. `hilum init` creates one for a platform without data; "
        "existing data can be decrypted only with the key that encrypted it.",
    ),
    Setting("HILUM_LISTEN", "", "`host:port` to bind; when empty, those of the base URL."),
    Setting(
        "HILUM_SANDBOX_LISTEN", "", "`host:port` of the sandbox site; when empty, those of the sandbox URL."
    ),
    Setting(
        "HILUM_OPS_LISTEN",
        "",
        "`host:port` of `/healthz`, `/readyz` with reasons and `/metrics`, which need no authentication: keep it off public networks. "
        "When empty, 127.0.0.1 and the platform's port + 1000 (9000 for 8000); `off` for none.",
    ),
    Setting("HILUM_WORKERS", "1", "Web worker processes."),
    Setting(
        "HILUM_NODE",
        "",
        "This node's name among those that share a database; when empty, derived from host name and data directory.",
    ),
    Setting(
        "HILUM_CONNECTIONS",
        "4096",
        "Open connections of one web worker, idle ones included; at most half of the files that the process may open.",
    ),
    Setting(
        "HILUM_SOURCE_REQUESTS",
        "512",
        "Requests of one address that a web worker serves concurrently; further ones get 429.",
    ),
    Setting(
        "HILUM_KEEP_ACCESSES_DAYS",
        "2190",
        "Days after which the payload of an access record (path, query, patient) is purged, unless a hold keeps it.",
    ),
    Setting(
        "HILUM_KEEP_EVENTS_DAYS",
        "2190",
        "Days after which the payload of a control-plane event is purged, unless a hold keeps it.",
    ),
    Setting("HILUM_KEEP_LAUNCHES_DAYS", "60", "Days after which an ended launch is deleted."),
    Setting(
        "HILUM_KEEP_SNAPSHOTS_DAYS",
        "30",
        "Days after which a vendor's snapshot in a sandbox is removed, if nobody has used it.",
    ),
    Setting(
        "HILUM_KEEP_USED_TOKENS_DAYS",
        "7",
        "Days for which reuse of a refresh token is detected and revokes its family; later it is only refused.",
    ),
    Setting(
        "HILUM_TRUSTED_PROXIES",
        "",
        "Comma-separated addresses of proxies whose `X-Forwarded-For` is trusted.",
    ),
    Setting(
        "HILUM_SMTP_HOST",
        "",
        "The mail server that accepts mail for delivery; when empty, mail waits until there is one.",
    ),
    Setting("HILUM_SMTP_PORT", "587", "Its port: 587 for `starttls`, usually 465 for `implicit`."),
    Setting(
        "HILUM_SMTP_TLS",
        "starttls",
        "`starttls`, `implicit`, or `none`, which is accepted for a mail server on this machine only. The certificate is always verified.",
    ),
    Setting("HILUM_SMTP_USERNAME", "", "The account at the mail server; when empty, Hilum does not sign in."),
    Setting("HILUM_SMTP_PASSWORD", "", "Its password."),
    Setting("HILUM_SMTP_FROM", "", "The sender's address, such as `hilum@hospital.example`."),
    Setting(
        "HILUM_SMTP_CA",
        "",
        "A file with the root certificates by which the mail server's certificate is verified; when empty, the system's.",
    ),
    Setting(
        "HILUM_SANDBOX_PUBLIC",
        "",
        "`1` lets a sandbox bind beyond loopback; it then shows no secrets and refuses dynamic registration and fetches from loopback.",
    ),
)


COMMAND_LINE = frozenset({"HILUM_API_URL", "HILUM_API_TOKEN"})
"""Variables of the command line, which the platform ignores: the platform's address and the caller's token."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long each class of data is kept."""

    accesses: timedelta = timedelta(days=2_190)
    events: timedelta = timedelta(days=2_190)
    launches: timedelta = timedelta(days=60)
    snapshots: timedelta = timedelta(days=30)
    used_tokens: timedelta = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Smtp:
    """The mail server, and as whom mail is sent. ``ca`` is a file of root certificates, or None for the system's.

    Mail is not set up while ``host`` is empty.
    """

    host: str
    port: int
    tls: SmtpTls
    sender: str
    username: str = ""
    password: str = field(default="", repr=False)
    ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole platform's settings. ``secret_key`` never leaves app and keys."""

    mode: Mode
    base_url: str
    sandbox_url: str
    database_url: str
    data_dir: Path
    # Not in repr: settings may end up in a traceback or a log.
    secret_key: str = field(repr=False)
    listen: str = ""
    sandbox_listen: str = ""
    ops_listen: str = ""
    workers: int = 1
    connections: int = 4_096
    source_requests: int = 512
    trusted_proxies: frozenset[str] = frozenset()
    sandbox_public: bool = False
    audit_anchor: Path | None = None
    node: str = ""
    keep: Retention = Retention()
    smtp: Smtp = Smtp("", 587, SmtpTls.STARTTLS, "")

    @property
    def anchor(self) -> Path:
        """Where the audit's checkpoints are also written, outside the database."""
        return self.audit_anchor or self.data_dir / "audit-anchor.log"

    @property
    def journal_dir(self) -> Path:
        """The folder of the access journal's files. On PostgreSQL there are none."""
        return self.data_dir / "journal"

    @property
    def sqlite_file(self) -> Path | None:
        """The file of the control plane's database; None on PostgreSQL."""
        scheme = "sqlite:///"
        is_sqlite = self.database_url.startswith(scheme)
        return Path(self.database_url.removeprefix(scheme)) if is_sqlite else None

    @property
    def is_sandbox(self) -> bool:
        return self.mode is Mode.SANDBOX

    @property
    def opens_private_fetches(self) -> bool:
        """Whether loopback addresses may be fetched: only in a sandbox that is not public."""
        return self.is_sandbox and not self.sandbox_public


def read(environment: Mapping[str, str]) -> Settings:
    """Read and validate the settings. Raises Invalid with one entry in ``fields`` for each invalid setting."""
    values = {each.name: environment.get(each.name, "") or each.default for each in SETTINGS}
    # A misspelled setting must not silently leave its default in force.
    names = COMMAND_LINE.union(values)
    unknown = [name for name in environment if name.startswith("HILUM_") and name not in names]
    # All faults are collected before any is raised, so that an operator corrects them in one go.
    if faults := dict.fromkeys(unknown, "is not a setting of Hilum") | _value_faults(values):
        raise _invalid(faults)
    settings = _settings(values)
    if faults := _mode_faults(settings):
        raise _invalid(faults)
    return settings


def _value_faults(values: Mapping[str, str]) -> dict[str, str]:
    """Return what is wrong with the value of each setting by itself."""
    faults: dict[str, str] = {}
    if values["HILUM_MODE"] not in {mode.value for mode in Mode}:
        faults["HILUM_MODE"] = "is neither sandbox nor production"
    for name in ("HILUM_BASE_URL", "HILUM_SANDBOX_URL"):
        if fault := _origin_fault(values[name]):
            faults[name] = fault
    if not values["HILUM_DATABASE_URL"].startswith(("sqlite:///", "postgresql://")):
        faults["HILUM_DATABASE_URL"] = "starts with neither sqlite:/// nor postgresql://"
    for name in ("HILUM_LISTEN", "HILUM_SANDBOX_LISTEN", "HILUM_OPS_LISTEN"):
        is_off = name == "HILUM_OPS_LISTEN" and values[name] == OFF
        if values[name] and not is_off and not _is_address(values[name]):
            faults[name] = "is not a host and a port, such as 127.0.0.1:8000"
    if not re.fullmatch(r"[A-Za-z0-9._-]{0,80}", values["HILUM_NODE"]):
        faults["HILUM_NODE"] = "is not a name of up to 80 letters, digits, dots, dashes and underscores"
    for name, (least, most) in NUMBERS.items():
        # Not int() alone, which accepts signs, underscores and the digits of other scripts.
        if not (re.fullmatch("[0-9]{1,6}", values[name]) and least <= int(values[name]) <= most):
            faults[name] = f"is not a number from {least} to {most}"
    faults.update(_smtp_faults(values))
    if len(values["HILUM_SECRET_KEY"]) < SECRET_KEY_MIN:
        faults["HILUM_SECRET_KEY"] = (
            f"is missing or shorter than {SECRET_KEY_MIN} characters: set the key that encrypted this platform's data; "
            "for a platform without data, `hilum init` creates a new key"
        )
    return faults


def _settings(values: Mapping[str, str]) -> Settings:
    return Settings(
        mode=Mode(values["HILUM_MODE"]),
        base_url=values["HILUM_BASE_URL"],
        sandbox_url=values["HILUM_SANDBOX_URL"],
        database_url=values["HILUM_DATABASE_URL"],
        data_dir=Path(values["HILUM_DATA_DIR"]),
        secret_key=values["HILUM_SECRET_KEY"],
        listen=values["HILUM_LISTEN"] or _listen_of(values["HILUM_BASE_URL"]),
        sandbox_listen=values["HILUM_SANDBOX_LISTEN"] or _listen_of(values["HILUM_SANDBOX_URL"]),
        ops_listen=values["HILUM_OPS_LISTEN"],
        workers=int(values["HILUM_WORKERS"]),
        connections=int(values["HILUM_CONNECTIONS"]),
        source_requests=int(values["HILUM_SOURCE_REQUESTS"]),
        trusted_proxies=frozenset(
            part.strip() for part in values["HILUM_TRUSTED_PROXIES"].split(",") if part.strip()
        ),
        # Only this value: "true" or "0" must not make a sandbox public by accident.
        sandbox_public=values["HILUM_SANDBOX_PUBLIC"] == "1",
        node=values["HILUM_NODE"],
        keep=_retention(values),
        smtp=_smtp(values),
        audit_anchor=Path(values["HILUM_AUDIT_ANCHOR"]) if values["HILUM_AUDIT_ANCHOR"] else None,
    )


def _retention(values: Mapping[str, str]) -> Retention:
    classes = ("ACCESSES", "EVENTS", "LAUNCHES", "SNAPSHOTS", "USED_TOKENS")
    days = {name.lower(): timedelta(days=int(values[f"HILUM_KEEP_{name}_DAYS"])) for name in classes}
    return Retention(**days)


def _smtp_faults(values: Mapping[str, str]) -> dict[str, str]:
    faults: dict[str, str] = {}
    host, tls = values["HILUM_SMTP_HOST"], values["HILUM_SMTP_TLS"]
    if host and not re.fullmatch(r"[A-Za-z0-9._:-]{1,253}", host):
        faults["HILUM_SMTP_HOST"] = "is not a host name or an address"
    if tls not in {each.value for each in SmtpTls}:
        faults["HILUM_SMTP_TLS"] = "must be starttls, implicit or none"
    # One-time links travel in mail, and a password must not cross a network that others can read.
    elif tls == SmtpTls.NONE and host and host not in LOOPBACK:
        faults["HILUM_SMTP_TLS"] = "is none for a mail server on another machine: use starttls or implicit"
    if not host:
        return faults
    if not MAIL_ADDRESS.fullmatch(values["HILUM_SMTP_FROM"]):
        faults["HILUM_SMTP_FROM"] = "is not an address to send mail from, such as hilum@hospital.example"
    if bool(values["HILUM_SMTP_USERNAME"]) != bool(values["HILUM_SMTP_PASSWORD"]):
        faults["HILUM_SMTP_PASSWORD"] = "must be set together with HILUM_SMTP_USERNAME, or neither of them"
    if values["HILUM_SMTP_CA"] and not Path(values["HILUM_SMTP_CA"]).is_file():
        faults["HILUM_SMTP_CA"] = "is not a file that can be read"
    return faults


def _smtp(values: Mapping[str, str]) -> Smtp:
    return Smtp(
        host=values["HILUM_SMTP_HOST"],
        port=int(values["HILUM_SMTP_PORT"]),
        tls=SmtpTls(values["HILUM_SMTP_TLS"]),
        sender=values["HILUM_SMTP_FROM"],
        username=values["HILUM_SMTP_USERNAME"],
        password=values["HILUM_SMTP_PASSWORD"],
        ca=Path(values["HILUM_SMTP_CA"]) if values["HILUM_SMTP_CA"] else None,
    )


def _mode_faults(settings: Settings) -> dict[str, str]:
    faults: dict[str, str] = {}
    base, sandbox = urlsplit(settings.base_url), urlsplit(settings.sandbox_url)
    if settings.is_sandbox:
        # Browsers send cookies to every port of a host, and the sandbox serves third-party script (ADR 14).
        if base.hostname == sandbox.hostname:
            faults["HILUM_SANDBOX_URL"] = (
                "shares its host with HILUM_BASE_URL: two ports of one host share cookies"
            )
        if not settings.sandbox_public:
            for name, where in (
                ("HILUM_LISTEN", settings.listen),
                ("HILUM_SANDBOX_LISTEN", settings.sandbox_listen),
            ):
                if where.rpartition(":")[0] not in LOOPBACK:
                    faults[name] = (
                        "binds a sandbox beyond loopback; set HILUM_SANDBOX_PUBLIC=1 if you intend that"
                    )
    # RFC 8414 section 2: an issuer is an https URL. Over http, codes and tokens would cross the
    # network in clear text.
    elif base.scheme != "https" and base.hostname not in LOOPBACK:
        faults["HILUM_BASE_URL"] = "is an http issuer beyond loopback, which production refuses"
    return faults


def _origin_fault(url: str) -> str:
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises for an invalid port
    except ValueError:
        return "is not an http or https origin"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "is not an http or https origin"
    # Addresses are built by appending paths to it, and origins are compared as strings.
    if parts.path or parts.query or parts.fragment or parts.username:
        return "is more than an origin: set scheme, host and port only, without a trailing slash"
    return ""


def _is_address(listen: str) -> bool:
    try:
        parts = urlsplit(f"//{listen}")
        return (
            parts.netloc == listen and bool(parts.hostname) and parts.port is not None and "@" not in listen
        )
    except ValueError:
        return False


def _listen_of(url: str) -> str:
    parts = urlsplit(url)
    host = "[::1]" if parts.hostname == "::1" else parts.hostname
    return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"


def _invalid(faults: dict[str, str]) -> Invalid:
    listed = "; ".join(f"{name} {fault}" for name, fault in sorted(faults.items()))
    return Invalid("settings_invalid", listed, fields=faults)
