"""What may stand in a narrative. Source: FHIR R4 narrative.html, txt-1, txt-2."""

import pytest

from hilum.foundation.standards.fhir.narratives import narrative_fault

OPEN = '<div xmlns="http://www.w3.org/1999/xhtml">'


@pytest.mark.parametrize(
    "inside",
    [
        "<p>x</p>", "x", "<p>&nbsp;&eacute;&amp;&lt;&#169;</p> y", '<img src="#i" alt="i"/>', '<a href="https://x.example/?a=1&amp;b=2">x</a>',
        '<table class="t"><tbody><tr><td colspan="2" style="color: red">Łódź 🩺</td></tr></tbody></table>', '<p xml:lang="en">x</p>', "<!-- c -->x",
        "<p>javascript: is a word</p>",
    ],
)  # fmt: skip
def test_formatted_words_pass(inside: str) -> None:
    assert narrative_fault(f"{OPEN}{inside}</div>") == ""


@pytest.mark.parametrize(
    "div",
    [
        "", "x", "<div>x</div>", '<p xmlns="http://www.w3.org/1999/xhtml">x</p>', '<div xmlns="http://www.w3.org/2000/svg">x</div>',
        f"{OPEN}<p>x</div>", f"{OPEN}x", f"{OPEN}x</div><div/>", f"{OPEN} \n </div>", f"{OPEN}<br/></div>", f"{OPEN}&nosuch;</div>", f"{OPEN}a & b</div>",
        f"{OPEN}<script>x</script></div>", f"{OPEN}<SCRIPT>x</SCRIPT></div>", f'{OPEN}<p onclick="x()">x</p></div>', f"{OPEN}<form>x</form></div>",
        f'{OPEN}<iframe src="http://x"/>x</div>', f"{OPEN}<object>x</object></div>", f'{OPEN}<link href="x"/>x</div>', f"{OPEN}<style>x</style></div>",
        f'{OPEN}<a href=" JavaScript:x()">x</a></div>', f'{OPEN}<a href="java&#10;script:x()">x</a></div>', f'{OPEN}<svg xmlns="http://www.w3.org/2000/svg"/>x</div>',
        f'{OPEN}<p xmlns:o="http://o" o:onclick="x">x</p></div>', f'<!DOCTYPE d [<!ENTITY a "b">]>{OPEN}&a;</div>', f"{OPEN}\x00x</div>",
    ],
)  # fmt: skip
def test_what_is_no_narrative_or_could_act_is_said_to_be_so(div: str) -> None:
    assert narrative_fault(div)
