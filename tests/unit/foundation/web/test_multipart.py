"""Forms with a file, as browsers send them and nothing beside that (RFC 7578; ADR 14)."""

import pytest

from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.web import multipart

KIND = "multipart/form-data; boundary=----WebKitFormBoundary7MA4"
LINE = "----" + "--WebKitFormBoundary7MA4"


def part(head: str, content: str = "x") -> str:
    return f"{LINE}\r\n{head}\r\n\r\n{content}\r\n"


def field(name: str, content: str = "x") -> str:
    return part(f'Content-Disposition: form-data; name="{name}"', content)


def logo(content: str = "x", *, name: str = "logo", filename: str = "a.png") -> str:
    return part(
        f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\nContent-Type: image/png',
        content,
    )


END = f"{LINE}--\r\n"


def split(text: str, kind: str = KIND) -> tuple[multipart.Fields, dict[str, bytes]]:
    return multipart.split(kind, text.encode("utf-8", "surrogateescape"), files={"logo"})


def test_fields_and_files_are_as_they_were_sent() -> None:
    binary = "\r\n--\0\udcff----WebKitFormBoundary7MA4\r\n"
    found = split(field("csrf", "a-b") + field("name", "Łódź\r\n") + logo(binary) + END)

    assert found == (
        [("csrf", "a-b"), ("name", "Łódź\r\n")],
        {"logo": binary.encode("utf-8", "surrogateescape")},
    )
    assert split(END) == ([], {})
    assert split(field("a") + field("a") + logo("", filename="") + END[:-2]) == ([("a", "x"), ("a", "x")], {})
    assert split(logo(filename="Logo von Łódź.png") + END)[1] == {"logo": b"x"}
    assert multipart.split('multipart/form-data; boundary="b"', b"--b--", files=()) == ([], {})


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=a b",
        f"multipart/form-data; boundary={'a' * 71}",
        'multipart/form-data; boundary="a',
        "multipart/form-data; boundary=a; boundary=b",
        "multipart/mixed; boundary=a",
        "multipart/form-data; charset=x; boundary=a",
    ],
)
def test_a_body_without_one_plain_boundary_is_refused(kind: str) -> None:
    with pytest.raises(Invalid, match="valid multipart/form-data"):
        split(field("a") + END, kind)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        field("a"),
        "before\r\n" + field("a") + END,
        field("a") + END + "after",
        field("a") + LINE + "x\r\n" + END,
        field("a") * 65 + END,
        f"{LINE}\r\n\r\nx\r\n{END}",
        part("Content-Disposition: form-data") + END,
        part("Content-Disposition: form-data; name=a") + END,
        part('Content-Disposition: attachment; name="a"') + END,
        part("Content-Disposition: form-data; name=\"a\"; filename*=UTF-8''x") + END,
        part('Content-Disposition: form-data; name="a"; name="b"') + END,
        part('Content-Disposition: form-data; name="a"\r\nContent-Disposition: form-data; name="b"') + END,
        part('Content-Disposition: form-data; name="a"\r\nContent-Transfer-Encoding: base64') + END,
        part('Content-Disposition: form-data; name="a"\r\n folded') + END,
        part(f'Content-Disposition: form-data; name="{"a" * 1100}"') + END,
        field("a", "\udcff") + END,
        logo(name="other") + END,
    ],
)
def test_what_no_browser_sends_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refused:
        split(text)
    assert refused.value.code == "form_malformed"


def test_two_files_in_one_field_are_refused() -> None:
    with pytest.raises(Invalid) as refused:
        split(logo() + logo() + END)
    assert (refused.value.code, refused.value.fields) == ("form_repeated", {"logo": "sent_twice"})
