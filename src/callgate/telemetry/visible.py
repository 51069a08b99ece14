"""Text that others wrote, made safe for a terminal, a log line and a span.

An agent chooses its tool names and a tool server its messages: neither may move an operator's cursor, break a line,
turn the reading direction, or leave a credential behind.
"""

import re

_SEARCHED_CHARS = 4096
_CREDENTIAL = re.compile(
    r"eyJ[\w-]{8,}(?:\.[\w-]*)*"  # a JOSE header starts with `{"`, in base64url `eyJ` (RFC 7515, section 3.1)
    r"|\b(?i:bearer|basic|dpop)\s+[\w.~+/=-]{16,}"  # RFC 9110, section 11.4
    r"|-----BEGIN [^-\n]{0,64}-----(?s:.*?)(?:-----END [^-\n]{0,64}-----|\Z)"  # RFC 7468
)


def visible(text: str, max_chars: int) -> str:
    r"""One line of printable text of at most `max_chars` characters, the last an ellipsis where some were cut.

    Escaped as Python writes them (`\n`, `\x1b`, `\u202e`): controls, line and paragraph separators, every space
    but U+0020, bidirectional and other format characters, surrogates, unassigned code points.
    """
    if len(text) <= max_chars and text.isprintable():
        return text
    kept = "".join(_escaped(char) for char in text[: max_chars + 1])
    return kept if len(kept) <= max_chars else f"{kept[: max_chars - 1]}…"


def redacted(text: str) -> str:
    """`text` with whatever looks like a JWT, an Authorization value or a PEM block replaced by `[removed]`.

    A net below the rule that nothing we write down holds a credential, not the rule.
    """
    return _CREDENTIAL.sub("[removed]", text)


def without_credentials(text: str, max_chars: int) -> str:
    """`redacted`, then `visible`."""
    # The cut comes first: a caller who writes a long text must not make us search it.
    return visible(redacted(text[:_SEARCHED_CHARS]), max_chars)


def _escaped(char: str) -> str:
    return char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
