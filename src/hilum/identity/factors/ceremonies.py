"""The WebAuthn ceremonies: options for a browser, and the verification of its response. A thin layer over py_webauthn.

Source: WebAuthn Level 2, sections 7.1 (registration) and 7.2 (authentication).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from hilum.identity.factors.models import ANSWER_BOUND, Passkey, PasskeyRefused, Site
from hilum.identity.people.models import Person

# What the library raises for answers that no browser sends.
_MALFORMED = (WebAuthnException, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)


@dataclass(frozen=True, slots=True)
class NewCredential:
    """A verified new passkey; ``credential`` and ``public_key`` are base64url."""

    credential: str
    public_key: str
    sign_count: int


def registration_options(site: Site, person: Person, held: Iterable[Passkey], challenge: str) -> str:
    """Return the options for creating a passkey, as JSON."""
    options = generate_registration_options(
        rp_id=site.host,
        rp_name=site.name,
        user_id=person.id.encode(),
        user_name=person.username,
        user_display_name=person.name,
        challenge=base64url_to_bytes(challenge),
        # A PIN or fingerprint makes it two factors in one. It need not be discoverable, because the person has
        # entered a username already.
        authenticator_selection=AuthenticatorSelectionCriteria(
            user_verification=UserVerificationRequirement.REQUIRED,
            resident_key=ResidentKeyRequirement.PREFERRED,
        ),
        exclude_credentials=_described(held),
    )
    return options_to_json(options)


def authentication_options(site: Site, held: Iterable[Passkey], challenge: str) -> str:
    """Return the options for using one of a person's passkeys, as JSON."""
    options = generate_authentication_options(
        rp_id=site.host,
        challenge=base64url_to_bytes(challenge),
        allow_credentials=_described(held),
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return options_to_json(options)


def _described(held: Iterable[Passkey]) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=base64url_to_bytes(each.credential)) for each in held]


def verify_registration(site: Site, challenge: str, answer: str) -> NewCredential:
    """Verify a browser's response to registration options: challenge, origin and user verification. Raises PasskeyRefused."""
    try:
        verified = verify_registration_response(
            credential=_bounded(answer),
            expected_challenge=base64url_to_bytes(challenge),
            expected_rp_id=site.host,
            expected_origin=site.origin,
            require_user_verification=True,
        )
    except _MALFORMED as error:
        raise PasskeyRefused("passkey_answer_invalid") from error
    public_key = bytes_to_base64url(verified.credential_public_key)
    return NewCredential(bytes_to_base64url(verified.credential_id), public_key, verified.sign_count)


def verify_authentication(site: Site, passkey: Passkey, challenge: str, answer: str) -> int:
    """Verify a browser's response to authentication options; return the signature counter. Raises PasskeyRefused."""
    try:
        verified = verify_authentication_response(
            credential=_bounded(answer),
            expected_challenge=base64url_to_bytes(challenge),
            expected_rp_id=site.host,
            expected_origin=site.origin,
            credential_public_key=base64url_to_bytes(passkey.public_key),
            # The policy judges the counter, with a separate reason for one that went back.
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except _MALFORMED as error:
        raise PasskeyRefused("passkey_answer_invalid") from error
    return verified.new_sign_count


def _bounded(answer: str) -> str:
    if len(answer) > ANSWER_BOUND:
        raise PasskeyRefused("passkey_answer_invalid")
    return answer
