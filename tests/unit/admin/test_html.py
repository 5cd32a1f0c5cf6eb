"""Whatever is no HTML yet is escaped."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synproxy.admin.html import Html, el, join


@pytest.mark.parametrize(
    ("made", "written"),
    [
        (el("p", "a < b & c"), "<p>a &lt; b &amp; c</p>"),
        (el("p", Html("<b>x</b>")), "<p><b>x</b></p>"),
        (el("p", None, ["a", (el("i", 3),)]), "<p>a<i>3</i></p>"),
        (el("td", "x", title='"><script>'), '<td title="&quot;&gt;&lt;script&gt;">x</td>'),
        (
            el("th", class_="n", aria_label="y", hidden=True),
            '<th class="n" aria-label="y" hidden></th>',
        ),
        (el("input", name="url", required=False, value=""), '<input name="url" value="">'),
        (join("<", el("br")), "&lt;<br>"),
    ],
)
def test_elements_are_written_and_text_is_escaped(made: Html, written: str) -> None:
    assert made == written


@given(st.text())
def test_no_text_opens_a_tag_or_ends_an_attribute(text: str) -> None:
    made = el("p", text, title=text)
    assert made.count("<") == 2
    assert made.count('"') == 2
