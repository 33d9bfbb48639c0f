"""What a browser is asked about a passkey, and whether its answer holds. A thin layer over py_webauthn.

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

from hilum.factors.models import ANSWER_BOUND, Passkey, PasskeyRefused, Site
from hilum.identity.models import Person

# What the library raises for answers that no browser sends.
_MALFORMED = (WebAuthnException, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError)


@dataclass(frozen=True, slots=True)
class Made:
    credential: str
    public_key: str
    sign_count: int


def ask_to_create(site: Site, person: Person, held: Iterable[Passkey], challenge: str) -> str:
    """Return the options for making a passkey, as JSON."""
    options = generate_registration_options(
        rp_id=site.host,
        rp_name=site.name,
        user_id=person.id.encode(),
        user_name=person.username,
        user_display_name=person.name,
        challenge=base64url_to_bytes(challenge),
        # The PIN or fingerprint makes it two factors in one. A passkey that is found without a name is not needed: the password names it.
        authenticator_selection=AuthenticatorSelectionCriteria(
            user_verification=UserVerificationRequirement.REQUIRED,
            resident_key=ResidentKeyRequirement.PREFERRED,
        ),
        exclude_credentials=_described(held),
    )
    return options_to_json(options)


def ask_to_get(site: Site, held: Iterable[Passkey], challenge: str) -> str:
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


def created(site: Site, challenge: str, answer: str) -> Made:
    """Return the passkey that a browser made for this challenge here, with its owner verified. Raises PasskeyRefused."""
    try:
        found = verify_registration_response(
            credential=_bounded(answer),
            expected_challenge=base64url_to_bytes(challenge),
            expected_rp_id=site.host,
            expected_origin=site.origin,
            require_user_verification=True,
        )
    except _MALFORMED as error:
        raise PasskeyRefused("passkey_answer_invalid") from error
    public_key = bytes_to_base64url(found.credential_public_key)
    return Made(bytes_to_base64url(found.credential_id), public_key, found.sign_count)


def used(site: Site, passkey: Passkey, challenge: str, answer: str) -> int:
    """Check that a browser used a passkey for this challenge here, with its owner verified; return its counter. Raises PasskeyRefused."""
    try:
        found = verify_authentication_response(
            credential=_bounded(answer),
            expected_challenge=base64url_to_bytes(challenge),
            expected_rp_id=site.host,
            expected_origin=site.origin,
            credential_public_key=base64url_to_bytes(passkey.public_key),
            # The counter is judged by the policy, which has a reason of its own for one that went back.
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except _MALFORMED as error:
        raise PasskeyRefused("passkey_answer_invalid") from error
    return found.new_sign_count


def _bounded(answer: str) -> str:
    if len(answer) > ANSWER_BOUND:
        raise PasskeyRefused("passkey_answer_invalid")
    return answer
