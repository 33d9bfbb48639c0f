"""Redirect URIs: what may be registered, and what counts as the same (C2, C3)."""

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from hilum.apps.clients.models import ClientType, Deployment
from hilum.apps.clients.policy import redirect_matches, validate_redirect_uri
from hilum.foundation.standards.redirects import origin_of, validate_web_uri
from tests.effort import effort

BROWSER, NATIVE, SERVER = Deployment.BROWSER, Deployment.NATIVE, Deployment.SERVER


def judge(
    uri: str, deployment: Deployment = BROWSER, *, sandbox: bool = False, kind: ClientType = ClientType.PUBLIC
) -> str | None:
    return validate_redirect_uri(uri, client_type=kind, deployment=deployment, sandbox=sandbox)


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/callback",
        "https://app.example",
        "https://app.example:8443/a/b?x=1&y=2",
        "https://xn--bcher-kva.example/cb",
        "https://a-b.c-d.example/cb%20x",
    ],
)
def test_a_plain_https_address_is_taken_from_every_client(uri: str) -> None:
    """C2."""
    assert [judge(uri, each, sandbox=box) for each in Deployment for box in (False, True)] == [None] * 6


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("", "redirect_empty"),
        ("/callback", "redirect_relative"),
        ("app.example/callback", "redirect_relative"),
        ("//app.example/cb", "redirect_relative"),
        ("https:/app.example/cb", "redirect_host_missing"),
        ("https:app.example", "redirect_host_missing"),
        ("https:///cb", "redirect_host_missing"),
        ("https://:443/cb", "redirect_host_missing"),
        ("https://app.example/cb#frag", "redirect_fragment"),
        ("https://app.example/cb#", "redirect_fragment"),
        ("https://*.example/cb", "redirect_wildcard"),
        ("https://app.example/*", "redirect_wildcard"),
        ("https://app.example/%2a", "redirect_wildcard"),
        ("https://user@app.example/cb", "redirect_userinfo"),
        ("https://user:pw@app.example/cb", "redirect_userinfo"),
        ("https://app.example%40evil.example/cb", "redirect_userinfo"),
        ("https://good.example@evil.example/", "redirect_userinfo"),
        ("https://93.184.216.34/cb", "redirect_ip_host"),
        ("https://10.0.0.1/cb", "redirect_ip_host"),
        ("https://2130706433/cb", "redirect_ip_host"),
        ("https://0x7f000001/cb", "redirect_ip_host"),
        ("https://0177.0.0.1/cb", "redirect_ip_host"),
        ("https://127.1/cb", "redirect_ip_host"),
        ("https://127.0.0.2/cb", "redirect_ip_host"),
        ("https://app.1/cb", "redirect_ip_host"),
        ("https://[2001:db8::1]/cb", "redirect_ip_host"),
        ("https://[::ffff:127.0.0.1]/cb", "redirect_ip_host"),
        ("https://[zz]/cb", "redirect_ip_host"),
        ("https://0.0.0.0/cb", "redirect_ip_host"),
        ("https://App.example/cb", "redirect_host"),
        ("https://app_1.example/cb", "redirect_host"),
        ("https://app..example/cb", "redirect_host"),
        ("https://app.example./cb", "redirect_host"),
        ("https://-app.example/cb", "redirect_host"),
        ("https://app%2eexample/cb", "redirect_host"),
        ("https://app.example:0/cb", "redirect_port"),
        ("https://app.example:99999/cb", "redirect_port"),
        ("https://app.example:8o/cb", "redirect_port"),
        ("https://app.example:/cb", "redirect_port"),
        ("https://app.example/a/../b", "redirect_dot_segment"),
        ("https://app.example/./b", "redirect_dot_segment"),
        ("https://app.example/a/%2e%2e/b", "redirect_dot_segment"),
        ("https://app.example/a%2f..%2fb", "redirect_dot_segment"),
        ("https://app.example/a%5c..", "redirect_dot_segment"),
        ("https://app.example\\@evil.example/", "redirect_characters"),
        ("https://app.example/a b", "redirect_characters"),
        ("https://app.example/\t", "redirect_characters"),
        ("https://app.example/a\r\nb", "redirect_characters"),
        ("https://app.example/\u00e4", "redirect_characters"),
        ("https://\u0430pp.example/cb", "redirect_characters"),
        ("https://app.example/%zz", "redirect_characters"),
        ("https://app.example/%00", "redirect_characters"),
        ("https://app.example/<script>", "redirect_characters"),
        ("https://app.example/" + "a" * 1_000, "redirect_too_long"),
        ("http://app.example/cb", "redirect_not_https"),
        ("http://localhost.evil.example/cb", "redirect_not_https"),
        ("HTTPS://app.example/cb", "redirect_scheme"),
        ("javascript:alert(1)", "redirect_scheme"),
        ("data:text/html,x", "redirect_scheme"),
        ("file:///etc/passwd", "redirect_scheme"),
        ("vbscript:x", "redirect_scheme"),
    ],
)
def test_each_broken_rule_has_its_own_code_whatever_the_deployment_or_sandbox(uri: str, code: str) -> None:
    """C2."""
    assert {judge(uri, each, sandbox=box) for each in Deployment for box in (False, True)} == {code}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_loopback_is_for_native_apps_and_for_sandboxes(host: str, scheme: str) -> None:
    """C2, RFC 8252 section 7.3."""
    uri = f"{scheme}://{host}:4567/cb"

    assert judge(uri, BROWSER) == "redirect_loopback"
    assert judge(uri, SERVER, kind=ClientType.SYMMETRIC) == "redirect_loopback"
    assert judge(uri, NATIVE) is None
    assert [judge(uri, each, sandbox=True) for each in Deployment] == [None] * 3


@pytest.mark.parametrize(
    "uri", ["com.example.app:/cb", "com.example.app:/", "com.example.my-app://done/x", "org.a1.b:/x?y=1"]
)
def test_a_private_use_scheme_in_reverse_domain_form_is_for_public_native_apps(uri: str) -> None:
    """C2, RFC 8252 section 7.1."""
    assert judge(uri, NATIVE) is None
    assert judge(uri, BROWSER) == "redirect_private_scheme_not_native"
    assert judge(uri, SERVER, sandbox=True) == "redirect_private_scheme_not_native"
    assert judge(uri, NATIVE, kind=ClientType.SYMMETRIC) == "redirect_private_scheme_not_native"


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("myapp:/cb", "redirect_private_scheme_form"),
        ("myapp://cb", "redirect_private_scheme_form"),
        ("com.example.app:cb", "redirect_private_scheme_form"),
        ("COM.example.app:/cb", "redirect_private_scheme_form"),
        ("com..app:/cb", "redirect_private_scheme_form"),
        ("com.:/cb", "redirect_private_scheme_form"),
        ("com.example.app://u@h/cb", "redirect_userinfo"),
        ("com.example.app:/a/../b", "redirect_dot_segment"),
        ("com.example.app:/cb#x", "redirect_fragment"),
        ("ftp://app.example/x", "redirect_private_scheme_form"),
    ],
)
def test_a_private_use_scheme_of_another_form_is_refused(uri: str, code: str) -> None:
    """C2."""
    assert judge(uri, NATIVE) == code


@pytest.mark.parametrize(
    ("uri", "loopback", "code"),
    [
        ("https://app.example/launch", False, None),
        ("http://localhost:8001/launch", True, None),
        ("http://localhost:8001/launch", False, "redirect_loopback"),
        ("http://app.example/launch", True, "redirect_not_https"),
        ("com.example.app:/launch", True, "redirect_scheme"),
        ("https://10.0.0.1/jwks", True, "redirect_ip_host"),
        ("", True, "redirect_empty"),
        ("launch", True, "redirect_relative"),
    ],
)
def test_launch_and_key_addresses_are_web_addresses(uri: str, loopback: bool, code: str | None) -> None:
    assert validate_web_uri(uri, loopback=loopback) == code


REGISTERED = (
    "https://app.example/cb",
    "http://127.0.0.1/cb",
    "http://localhost:1234/x?y=1",
    "com.example.app:/cb",
)


@pytest.mark.parametrize("deployment", Deployment)
@pytest.mark.parametrize("uri", REGISTERED)
def test_what_is_registered_matches_itself(uri: str, deployment: Deployment) -> None:
    assert redirect_matches(REGISTERED, uri, deployment=deployment)


@pytest.mark.parametrize(
    "presented",
    [
        "",
        "https://app.example/cb/",
        "https://app.example/CB",
        "https://app.example/cb?",
        "https://app.example/cb?x=1",
        "https://app.example/cb#x",
        "https://app.example:443/cb",
        "https://app.example:8443/cb",
        "HTTPS://app.example/cb",
        "https://APP.example/cb",
        "http://app.example/cb",
        "https://app.example/c%62",
        "https://app.example//cb",
        "https://app.example/./cb",
        "https://app.example.evil.example/cb",
        "https://app.example@evil.example/cb",
        "https://app.example/cb https://evil.example",
        " https://app.example/cb",
        "https://app.example/cb\n",
        "com.example.app://cb",
        "com.example.APP:/cb",
    ],
)
@pytest.mark.parametrize("deployment", Deployment)
def test_the_slightest_difference_is_another_redirect(presented: str, deployment: Deployment) -> None:
    """C3, RFC 9700 section 2.1: a trailing slash or a change of case fails."""
    assert not redirect_matches(REGISTERED, presented, deployment=deployment)


@pytest.mark.parametrize(
    "presented",
    [
        "http://127.0.0.1:5000/cb",
        "http://127.0.0.1:65535/cb",
        "http://localhost:9/x?y=1",
        "http://localhost/x?y=1",
    ],
)
def test_only_a_native_apps_loopback_port_may_vary(presented: str) -> None:
    """C3, RFC 8252 section 7.3."""
    assert redirect_matches(REGISTERED, presented, deployment=NATIVE)
    assert not redirect_matches(REGISTERED, presented, deployment=BROWSER)
    assert not redirect_matches(REGISTERED, presented, deployment=SERVER)


@pytest.mark.parametrize(
    "presented",
    [
        "http://127.0.0.1:5000/cb/",
        "http://127.0.0.1:5000/CB",
        "http://127.0.0.1:5000/cb?x",
        "http://localhost:5000/cb",
        "http://[::1]:5000/cb",
        "http://127.0.0.1:99999/cb",
        "http://127.0.0.1:0/cb",
        "http://127.0.0.1:05/cb",
        "http://127.0.0.1:/cb",
        "https://127.0.0.1:5000/cb",
        "http://127.0.0.1:5000@evil.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://127.0.0.1:5000\\@evil.example/cb",
        "http://127.0.0.2:5000/cb",
        "http://127.0.0.1:5000/cb#x",
        "http://127.0.0.1:5000/cb\n",
    ],
)
def test_beside_the_port_a_native_loopback_redirect_is_exact_too(presented: str) -> None:
    """C3."""
    assert not redirect_matches(REGISTERED, presented, deployment=NATIVE)


pieces = st.lists(
    st.sampled_from(
        ["https", "http", ":", "//", "/", "app.example", "evil.example", "127.0.0.1", "localhost", "[::1]", "@", "\\", "#", "?", "*",
         "..", "%2e", "%00", ":80", ":99999", "com.example.app", "javascript", " ", "\n", "a", "é", "&x=1"]
    ),
    max_size=9,
).map("".join)  # fmt: skip
edits = st.tuples(
    st.integers(0, 40), st.sampled_from(["", ":8080", ":1", "/", "A", "@x", "#", "\\", "%41", "?", ".", "é"])
)
near = st.builds(
    lambda uri, edit: uri[: edit[0]] + edit[1] + uri[edit[0] :], st.sampled_from(REGISTERED), edits
)
shaped = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["https://", "http://", "com.example.app:", "app:"]),
    st.sampled_from(["app.example", "127.0.0.1", "localhost", "[::1]", "u@app.example", ""]),
    st.sampled_from(["", ":8080", ":99999"]),
    st.sampled_from(["", "/", "/cb", "/a/../cb", "/cb?x=1", "/cb#x"]),
)
moved = st.builds("http://127.0.0.1:{}/cb".format, st.integers(0, 70_000))
anything = st.one_of(shaped, near, pieces, st.text(max_size=40))


@settings(max_examples=effort(70, 20_000), deadline=None)
@example(uri="https://app.example/cb?x=1", deployment=BROWSER, sandbox=False)
@example(uri="http://127.0.0.1:5000/cb", deployment=NATIVE, sandbox=False)
@example(uri="http://localhost/cb", deployment=BROWSER, sandbox=True)
@example(uri="com.example.app:/cb", deployment=NATIVE, sandbox=False)
@given(uri=anything, deployment=st.sampled_from(Deployment), sandbox=st.booleans())
def test_whatever_is_registered_is_safe_to_send_a_browser_to(
    uri: str, deployment: Deployment, *, sandbox: bool
) -> None:
    """C2: judged against what a browser would make of it, by simpler means than the rules themselves."""
    if judge(uri, deployment, sandbox=sandbox) is not None:
        return

    scheme, _, rest = uri.partition(":")
    authority = rest.removeprefix("//").split("/")[0].split("?")[0] if rest.startswith("//") else ""
    assert uri.isascii()
    assert uri.isprintable()
    assert not set(uri) & set("#*\\ ")
    assert "@" not in authority
    assert ".." not in uri.partition("?")[0].split("/")
    if scheme == "http":
        assert sandbox or deployment is NATIVE
        assert authority.rsplit(":", 1)[0] in {"127.0.0.1", "localhost", "[::1]"} or authority in {
            "127.0.0.1",
            "localhost",
            "[::1]",
        }
    elif scheme != "https":
        assert deployment is NATIVE
        assert "." in scheme


@settings(max_examples=effort(70, 20_000), deadline=None)
@example("http://127.0.0.1/cb", "http://127.0.0.1:5000/cb", NATIVE)
@given(st.sampled_from(REGISTERED), st.one_of(moved, near), st.sampled_from([NATIVE, *Deployment]))
def test_another_string_matches_only_by_its_loopback_port(
    one: str, other: str, deployment: Deployment
) -> None:
    """C3."""
    assume(one != other)

    if redirect_matches([one], other, deployment=deployment):
        assert deployment is NATIVE
        assert one.startswith("http://")
        assert other.startswith("http://")
        assert (
            validate_redirect_uri(other, client_type=ClientType.PUBLIC, deployment=NATIVE, sandbox=False)
            is None
        )


@pytest.mark.parametrize(
    ("uri", "origin"),
    [
        ("https://app.example/cb", "https://app.example"),
        ("https://app.example:443/cb", "https://app.example"),
        ("http://localhost:8001/cb?x", "http://localhost:8001"),
        ("http://localhost:80", "http://localhost"),
        ("com.example.app:/cb", ""),
        ("", ""),
    ],
)
def test_the_origin_of_an_address_is_what_a_browser_sends(uri: str, origin: str) -> None:
    assert origin_of(uri) == origin
