"""HTML and SVG whose text cannot become markup.

Whatever is not `Markup` already is text, and is escaped where it is put in: what an agent or a tool server wrote stays
what it wrote, and nothing that cannot be seen is left in it.
"""

from html import escape
from typing import Final

# HTML, section 13.1.2: elements that have no end tag; the shapes of SVG have no content either.
_VOID: Final = frozenset({"meta", "br"})


class Markup(str):
    """Text that is markup, made by `tag` and `joined` alone."""

    __slots__ = ()


def tag(name: str, /, *children: str, **attributes: str | int) -> Markup:
    """An element.  An attribute's `_` stands for `-`, and one at its end for nothing: `class_`, `aria_label`."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_text(str(value))}"' for key, value in attributes.items()
    )
    if name in _VOID:
        return Markup(f"<{name}{written}>")
    return Markup(f"<{name}{written}>{joined(*children)}</{name}>")


def start(name: str, /, **attributes: str) -> Markup:
    """The beginning of an element whose content is written piece by piece."""
    return Markup(tag(name, **attributes).removesuffix(f"</{name}>"))


def end(name: str) -> Markup:
    """The end of such an element."""
    return Markup(f"</{name}>")


def joined(*children: str) -> Markup:
    """One after the other."""
    return Markup("".join(child if isinstance(child, Markup) else _text(child) for child in children))


def _text(text: str) -> str:
    r"""As HTML text or in an attribute; characters that are not printable as `visible` has them, but for line feeds."""
    if not text.isprintable():
        text = "".join(map(_seen, text))
    return escape(text)


def _seen(char: str) -> str:
    return char if char.isprintable() or char == "\n" else char.encode("unicode_escape").decode("ascii")
