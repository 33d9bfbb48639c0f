"""Authorization requests, from the authorization endpoint through its pages, and authorization codes."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hilum.authorization.tokens.models import Grant, IssuedTokens
from hilum.foundation.kernel.ids import ClientId, FamilyId, LaunchId, PersonId, SessionId, TenantId

# RFC 6749 section 4.1.2 recommends ten minutes at most. The app redeems a code at once, so a minute
# is enough, and a code in a log or a browser's history is dead when it is found.
CODE_LIFE = timedelta(seconds=60)
CODE_PREFIX = "hil_ac_"
CODE_KEPT = timedelta(days=1)
"""How long a used or expired code is kept, so that its replay is detected."""
REQUEST_LIFE = timedelta(minutes=30)
"""How long a person may take for sign-in, picker and consent."""
# As wide as the columns: PostgreSQL refuses longer values where SQLite does not, and the app should get
# that refusal from this endpoint.
STATE_BOUND = 2_048
NONCE_BOUND = 512
LAUNCH_BOUND = 512
REDIRECT_URI_BOUND = 2_048
SEARCH_TEXT_BOUND = 100
PICKER_PAGE = 200
PICKER_RETRY_AFTER_S = 10
"""How long a page of the picker waits that was refused for too many reads, or because the FHIR server does not answer."""
ENCOUNTERS_BOUND = 50
CONNECTED_APPS_BOUND = 200


class Step(StrEnum):
    """What a stored authorization request needs next."""

    LOGIN = "login"
    CHOOSE_CONTEXT = "choose_context"
    CONSENT = "consent"
    NOTICE = "notice"
    """The tenant has agreed by installing; the person sees a notice once per version."""
    ISSUE = "issue"


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A valid authorization request. Fields up to ``max_age_s`` are fixed when it is stored; its pages set the others.

    ``scopes`` are v2 strings. ``launch_sealed`` holds the handle until a person takes the launch. Only ``person`` may continue the request;
    ``session`` is the session in which they last did. Both are empty until a signed-in person opens one of its pages.
    """

    id: str
    tenant: TenantId
    client: ClientId
    redirect_uri: str
    state: str
    scopes: tuple[str, ...]
    code_challenge: str
    created_at: datetime
    expires_at: datetime
    nonce: str = ""
    launch_sealed: str = ""
    prompt: frozenset[str] = frozenset()
    login_hint: str = ""
    max_age_s: int | None = None
    session: SessionId = SessionId("")
    person: PersonId = PersonId("")
    launch: LaunchId = LaunchId("")
    patient: str = ""
    encounter: str = ""
    context_chosen_at: datetime | None = None
    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code: who may redeem it, and the grant of its tokens.

    ``grant.scopes`` are the granted scopes; ``grant.extras`` the launch parameters of the token response. ``offline``: True for
    ``offline_access``, False for ``online_access``, None for no refresh token. Every token of the code belongs to ``family``,
    so that a replay can revoke them all. ``hash`` is the SHA-256 of the code.
    """

    hash: bytes
    redirect_uri: str
    code_challenge: str
    family: FamilyId
    grant: Grant
    auth_time: datetime
    issued_at: datetime
    expires_at: datetime
    offline: bool | None = None
    used_at: datetime | None = None
    answer: IssuedTokens | None = None
    """What it was redeemed for, if ``redeem_code`` permits this request to repeat that."""


@dataclass(frozen=True, slots=True)
class WaitingRequest:
    """An unfinished authorization request that continues after sign-in: its validated redirect URI, and the name and logo of its app."""

    redirect_uri: str
    app: str
    app_id: str = ""
    logo: str = ""
