"""To whom the content of sessions is encrypted: what `audit.recipients` says, as keys."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from callgate.audit.age import Recipient
from callgate.config_audit import MAX_RECIPIENTS, MAX_RECIPIENTS_BYTES, is_recipient, parse_recipients
from callgate.errors import GatewayError
from callgate.yaml_strict import Problem

# In private keys of age and OpenSSH, and in none that is public.
_SECRET_MARKS: Final = ("secret-key", "private key", "age-plugin-")


class UnusableRecipient(GatewayError):  # noqa: N818  # says what it is
    """Content cannot be encrypted to one of these.  The words never hold what was given: it may be a private key."""


def load_recipients(given: Sequence[str], beside: Path = Path()) -> tuple[Recipient, ...]:
    """The keys in `given`: each text is a recipient itself, or the path of a file that has one in each line.

    Paths are relative to `beside`.  Blocks.  Raises UnusableRecipient.
    """
    keys = [key for number, text in enumerate(given, 1) for key in _expand(number, text, beside)]
    if not 0 < len(keys) <= MAX_RECIPIENTS:
        raise UnusableRecipient(f"content is encrypted to 1 to {MAX_RECIPIENTS} recipients; there are {len(keys)}")
    return tuple(keys)


def _expand(number: int, text: str, beside: Path) -> Iterator[Recipient]:
    what = f"recipient {number}"
    if any(mark in text.lower() for mark in _SECRET_MARKS):
        raise UnusableRecipient(
            f"{what} is a private key: whoever saw it there can read what was recorded.  Make a new one, and give its "
            "public half, which begins with age1"
        )
    if is_recipient(text):
        yield _parsed(text, what)
        return
    for line in _lines_of(beside / text, what):
        yield _parsed(line, f"a line in {beside / text}")


def _parsed(text: str, what: str) -> Recipient:
    found = Recipient.parse(text)
    if found is None:
        raise UnusableRecipient(f"{what} is mistyped: it looks like a recipient, and its checksum is not right")
    return found


def _lines_of(path: Path, what: str) -> tuple[str, ...]:
    try:
        with path.open("rb") as file:
            text = file.read(MAX_RECIPIENTS_BYTES + 1).decode()
    except (OSError, ValueError):
        raise UnusableRecipient(
            f"{what} is neither age1… nor ssh-ed25519 …, nor the path of a text file that can be read"
        ) from None
    if len(text) > MAX_RECIPIENTS_BYTES:
        raise UnusableRecipient(f"{path} is larger than {MAX_RECIPIENTS_BYTES} bytes")
    found = parse_recipients(text, str(path))
    problems = [str(each) for each in found if isinstance(each, Problem)]
    if problems:
        raise UnusableRecipient("; ".join(problems))
    return tuple(each for each in found if isinstance(each, str))
