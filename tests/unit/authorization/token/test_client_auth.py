"""How a client presents itself at the token endpoint: by one method, which says whose credentials they are (C50)."""

from base64 import b64encode

import pytest

from hilum.authorization.token.client_auth import ASSERTION_TYPE, Method, read
from hilum.foundation.kernel import base64url
from hilum.foundation.kernel.errors import NotPermitted
from hilum.foundation.standards.oauth import read_parameters

BASIC = "Basic " + b64encode(b"cli_1:secret").decode()
JWT = ".".join([base64url.encode(b"{}"), base64url.encode(b'{"iss":"cli_1"}'), "c2ln"])
ASSERTED = {"client_assertion": JWT, "client_assertion_type": ASSERTION_TYPE}


@pytest.mark.parametrize(
    ("authorization", "form", "method"),
    [
        ("", {"client_id": "cli_1"}, Method.NONE),
        ("", {"client_id": "cli_1", "client_secret": "secret"}, Method.POST),
        (BASIC, {}, Method.BASIC),
        (BASIC.replace("Basic", "bAsIc"), {"client_id": "cli_1"}, Method.BASIC),
        ("", ASSERTED, Method.ASSERTION),
        ("", ASSERTED | {"client_id": "cli_1"}, Method.ASSERTION),
    ],
)
def test_each_method_says_who_the_client_is(authorization: str, form: dict[str, str], method: Method) -> None:
    presented = read(authorization, read_parameters(form.items()))

    assert (presented.method, presented.client) == (method, "cli_1")


@pytest.mark.parametrize(
    ("authorization", "form"),
    [
        # What is not understood is not ignored: the request would count as a public client's.
        ("Bearer hil_at_x", {"client_id": "cli_1"}),
        ("Digest x", {"client_id": "cli_1"}),
        ("Basic", {"client_id": "cli_1"}),
        ("Basic !", {"client_id": "cli_1"}),
        ("Basic " + b64encode(b"cli_1").decode(), {}),
        (BASIC, {"client_secret": "secret"}),
        (BASIC, ASSERTED),
        ("", ASSERTED | {"client_secret": "secret"}),
        (BASIC, {"client_id": "cli_2"}),
        ("", ASSERTED | {"client_id": "cli_2"}),
        ("", ASSERTED | {"client_assertion_type": "x"}),
        ("", {"client_assertion_type": ASSERTION_TYPE, "client_id": "cli_1"}),
        ("", {}),
        ("", {"client_id": "a b"}),
        ("", {"client_id": "x" * 129}),
    ],
)
def test_what_is_not_one_method_of_one_client_is_refused(authorization: str, form: dict[str, str]) -> None:
    """RFC 6749 section 2.3."""
    with pytest.raises(NotPermitted) as refused:
        read(authorization, read_parameters(form.items()))

    assert refused.value.code == "invalid_client"
