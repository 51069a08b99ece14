from hypothesis import given
from hypothesis import strategies as st

from callgate.cli.markup import Markup, end, joined, start, tag
from support.html_pages import Page


def test_text_is_escaped_and_markup_is_not() -> None:
    assert tag("p", "1 < 2 & 'so' \"on\"", tag("b", "yes")) == (
        "<p>1 &lt; 2 &amp; &#x27;so&#x27; &quot;on&quot;<b>yes</b></p>"
    )


def test_attributes_are_escaped_and_named_as_html_names_them() -> None:
    assert (
        tag("p", class_='a"b', aria_label="<", tabindex=0) == '<p class="a&quot;b" aria-label="&lt;" tabindex="0"></p>'
    )


def test_void_elements_have_no_end() -> None:
    assert tag("meta", charset="utf-8", name="x") == '<meta charset="utf-8" name="x">'


def test_an_element_written_piece_by_piece_is_the_same() -> None:
    assert joined(start("ol", class_="steps"), tag("li", "1"), end("ol")) == tag("ol", tag("li", "1"), class_="steps")


def test_a_line_feed_stays_and_other_controls_are_written_out() -> None:
    assert tag("pre", "a\nb\r\x00\u202e\u2028") == "<pre>a\nb\\r\\x00\\u202e\\u2028</pre>"


def test_text_put_together_with_markup_is_text_again() -> None:
    assert not isinstance(tag("b", "x") + "<i>", Markup)
    assert tag("p", tag("b", "x") + "<i>") == "<p>&lt;b&gt;x&lt;/b&gt;&lt;i&gt;</p>"


@given(st.text(), st.text())
def test_whatever_the_text_there_is_one_element_that_says_it(text: str, value: str) -> None:
    page = Page(tag("p", text, title=value))

    assert page.skeleton == ["p"]
    assert all(char.isprintable() or char == "\n" for char in page.one("p").text)
    if (text + value).isprintable():
        assert page.one("p").text == text
        assert page.one("p").attributes == {"title": value}
