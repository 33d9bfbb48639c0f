"""Key rings: sealed at rest, one signer at a time, turned without failing anybody."""

import base64
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from sqlalchemy import select

from hilum.foundation.infra.context import Context, Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.foundation.kernel.errors import Invalid, NotPermitted
from hilum.records.keys import live, service, store
from hilum.records.keys.models import KEY_OVERLAP, MAX_KEYS_PER_RING, KeyState, Purpose, SigningKey
from tests.conftest import SECRET_KEY
from tests.effort import effort
from tests.sim.world import START, FakeClock

TRACE = Trace("req_keys")


def sign(uow: UnitOfWork, ring: str = "general") -> str:
    return uow.write_now(lambda ctx: service.sign_jwt(ctx, ring, {"sub": "per_1"}), trace=TRACE)


def jwks(uow: UnitOfWork, ring: str = "general") -> Any:
    return uow.read_now(lambda ctx: service.public_jwks(ctx, Purpose.ID_TOKEN, ring), trace=TRACE)


def rotate(uow: UnitOfWork, ring: str = "general") -> str:
    return uow.write_now(lambda ctx: service.rotate(ctx, Purpose.ID_TOKEN, ring).kid, trace=TRACE)


def verifies(token: str, keys: Any) -> bool:
    return jwt.decode(token, KeySet.import_key_set(keys), algorithms=["RS256"]).claims["sub"] == "per_1"


def test_an_id_token_verifies_with_the_published_keys_and_names_its_key(uow: UnitOfWork) -> None:
    """C55."""
    token = sign(uow)

    published = jwks(uow)

    assert verifies(token, published)
    assert jwt.decode(token, KeySet.import_key_set(published)).header["kid"] == published["keys"][0]["kid"]
    assert published["keys"][0]["alg"] == "RS256"


def test_published_keys_hold_nothing_private(uow: UnitOfWork) -> None:
    sign(uow)

    (key,) = jwks(uow)["keys"]
    assert set(key) == {"kty", "n", "e", "kid", "use", "alg"}


def test_private_keys_lie_sealed_and_bound_to_their_ring_and_kid(uow: UnitOfWork) -> None:
    """A dump of the database signs nothing (C9); a sealed key moved to another ring does not open."""
    sign(uow)
    key = uow.read_now(lambda ctx: store.active(ctx.tx, Purpose.ID_TOKEN, "general"), trace=TRACE)
    assert key is not None

    assert '"d"' not in key.private_sealed
    with pytest.raises(Invalid):
        live.vault().open("signing-key", key.private_sealed, "id_token/childrens/" + key.kid)
    with pytest.raises(Invalid):
        live.vault().open("checkpoint", key.private_sealed, f"id_token/general/{key.kid}")


def test_tenants_have_different_keys(uow: UnitOfWork) -> None:
    """One key set a tenant."""
    token = sign(uow, "general")
    sign(uow, "childrens")

    with pytest.raises((ValueError, JoseError)):
        verifies(token, jwks(uow, "childrens"))


def test_rotation_fails_no_verification_within_the_overlap(uow: UnitOfWork, clock: FakeClock) -> None:
    """C55: what was signed before, during and after a rotation verifies; a verifier that kept the old set fails no old token."""
    before, old_set = sign(uow), jwks(uow)
    new_kid = rotate(uow)
    after = sign(uow)

    clock.advance(KEY_OVERLAP - timedelta(seconds=1))

    assert verifies(before, old_set)
    assert verifies(before, jwks(uow))
    assert verifies(after, jwks(uow))
    assert jwks(uow)["keys"][0]["kid"] == new_kid


def test_a_retired_key_signs_no_more_and_goes_after_the_overlap(uow: UnitOfWork, clock: FakeClock) -> None:
    before = sign(uow)
    rotate(uow)
    rows = uow.read_now(
        lambda ctx: store.KEYS.all(ctx.tx, purpose=Purpose.ID_TOKEN, ring="general"), trace=TRACE
    )

    clock.advance(KEY_OVERLAP)

    (retired,) = (key for key in rows if key.state is KeyState.RETIRED)
    bound_to = f"id_token/general/{retired.kid}"
    kept = live.vault().open("retired-signing-key", retired.private_sealed, bound_to).decode()
    assert kept == f"{retired.public['n']}.{retired.public['e']}", (
        "its public half, by which it is known as this platform's own"
    )
    with pytest.raises((ValueError, JoseError)):
        verifies(before, jwks(uow))
    rotate(uow)
    assert len(jwks(uow)["keys"]) == 2


def test_a_ring_is_bounded(uow: UnitOfWork) -> None:
    sign(uow)
    for _ in range(MAX_KEYS_PER_RING - 1):
        rotate(uow)

    with pytest.raises(NotPermitted, match="key_ring_full"):
        rotate(uow)

    assert verifies(sign(uow), jwks(uow))


def test_many_who_need_the_first_key_at_once_get_the_same_one(uow: UnitOfWork) -> None:
    with ThreadPoolExecutor(4) as pool:
        tokens = list(pool.map(lambda _: sign(uow), range(8)))

    published = jwks(uow)

    assert len(published["keys"]) == 1
    assert all(verifies(token, published) for token in tokens)


def test_rotating_under_load_fails_no_request(uow: UnitOfWork) -> None:
    """C55: signing keys roll with overlap and zero failed requests under load."""
    sign(uow)
    with ThreadPoolExecutor(4) as pool:
        rolling = pool.submit(lambda: [rotate(uow) for _ in range(effort(2, 6))])
        signed = list(pool.map(lambda _: sign(uow), range(effort(20, 400))))
        rolling.result()

    published = jwks(uow)

    assert all(verifies(token, published) for token in signed)


def test_a_checkpoint_signature_outlives_its_key(uow: UnitOfWork, clock: FakeClock) -> None:
    kid, signature = uow.write_now(
        lambda ctx: service.sign_bytes(ctx, Purpose.CHECKPOINT, b"heads"), trace=TRACE
    )
    uow.write_now(lambda ctx: service.rotate(ctx, Purpose.CHECKPOINT, ""), trace=TRACE)
    clock.advance(10 * KEY_OVERLAP)
    uow.write_now(lambda ctx: service.rotate(ctx, Purpose.CHECKPOINT, ""), trace=TRACE)

    def check(data: bytes, by: str, made: str) -> bool:
        return uow.read_now(
            lambda ctx: service.verify_bytes(ctx, Purpose.CHECKPOINT, by, data, made), trace=TRACE
        )

    assert check(b"heads", kid, signature)
    assert not check(b"other", kid, signature)
    assert not check(b"heads", "key_unknown", signature)
    assert not check(b"heads", kid, "not base64!")
    assert not check(b"heads", kid, "")


def test_a_key_of_one_purpose_verifies_nothing_of_another(uow: UnitOfWork) -> None:
    sign(uow)
    kid = jwks(uow)["keys"][0]["kid"]

    assert not uow.read_now(
        lambda ctx: service.verify_bytes(ctx, Purpose.CHECKPOINT, kid, b"x", "AAAA"), trace=TRACE
    )
    assert not uow.read_now(
        lambda ctx: service.verify_bytes(ctx, Purpose.ID_TOKEN, kid, b"x", "AAAA"), trace=TRACE
    )


FOREIGN = Ed25519PrivateKey.generate()


def foreign_key(kid: str, purpose: Purpose, state: KeyState, sealed: str) -> SigningKey:
    """A key that somebody else made, as who can only write to the database would add it."""
    point = base64.urlsafe_b64encode(FOREIGN.public_key().public_bytes_raw()).rstrip(b"=").decode()
    public = {"kty": "OKP", "crv": "Ed25519", "x": point}
    return SigningKey(kid, purpose, "", "EdDSA", public, sealed, state, START)


@pytest.mark.parametrize("sealed", ["", "of another key", "garbage"])
def test_a_key_that_this_platform_did_not_make_verifies_nothing(uow: UnitOfWork, sealed: str) -> None:
    """C179: public halves are in the database, where whoever can write to it may add one."""
    signature = base64.urlsafe_b64encode(FOREIGN.sign(b"heads")).rstrip(b"=").decode()

    def plant(ctx: Context, purpose: Purpose, state: KeyState) -> bool:
        kid = f"key_{purpose}_{state}"
        service.sign_bytes(ctx, purpose, b"own")
        own = store.active(ctx.tx, purpose, "")
        assert own is not None
        store.retire(ctx.tx, own.kid, ctx.now, proof=own.private_sealed)
        half = own.private_sealed if sealed == "of another key" else sealed
        assert store.KEYS.add_new(ctx.tx, foreign_key(kid, purpose, state, half))
        return service.verify_bytes(ctx, purpose, kid, b"heads", signature)

    # Retired first: an active key would make it sign by the planted one.
    for purpose in (Purpose.CHECKPOINT, Purpose.POLICY):
        for state in (KeyState.RETIRED, KeyState.ACTIVE):
            assert not uow.write_now(partial(plant, purpose=purpose, state=state), trace=TRACE)


@pytest.mark.parametrize("member", ["n", "e"])
def test_a_key_whose_public_half_was_changed_is_not_published(uow: UnitOfWork, member: str) -> None:
    """C55: with an exponent of 1 anybody could sign; with another modulus its owner could."""
    sign(uow)
    rotate(uow)

    def change(ctx: Context) -> None:
        for key in store.KEYS.all(ctx.tx, purpose=Purpose.ID_TOKEN, ring="general"):
            changed = key.public | {member: "AQ"}
            mine = store.signing_key.c.kid == key.kid
            ctx.tx.execute(store.signing_key.update().where(mine).values(public=changed))

    assert len(jwks(uow)["keys"]) == 2
    uow.write_now(change, trace=TRACE)

    assert jwks(uow)["keys"] == []


@pytest.mark.parametrize("purpose", list(Purpose))
def test_a_ring_without_a_key_is_not_rotated(uow: UnitOfWork, purpose: Purpose) -> None:
    """C179: a key without a policy would count as a policy that was deleted."""
    with pytest.raises(NotPermitted, match="key_ring_empty"):
        uow.write_now(lambda ctx: service.rotate(ctx, purpose, ""), trace=TRACE)

    assert uow.read_now(lambda ctx: store.KEYS.all(ctx.tx, purpose=purpose, ring=""), trace=TRACE) == []


def test_another_key_encryption_key_opens_nothing(uow: UnitOfWork) -> None:
    sign(uow)
    live.install(live.Vault(SECRET_KEY[::-1]))

    with pytest.raises(Invalid, match="seal_broken"):
        sign(uow)


def test_a_sealed_key_that_was_moved_to_another_ring_does_not_sign(uow: UnitOfWork) -> None:
    """An edited row cannot lend one tenant's key to another."""
    sign(uow)

    def move(ctx: Context) -> None:
        row = ctx.tx.execute(select(store.signing_key)).one()
        moved = replace(store.KEYS.of(row), kid="key_moved", ring="childrens")
        store.KEYS.add_new(ctx.tx, moved)

    uow.write_now(move, trace=TRACE)
    live.install(live.Vault(SECRET_KEY))

    with pytest.raises(Invalid, match="seal_broken"):
        sign(uow, "childrens")
