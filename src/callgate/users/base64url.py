"""Base64url in exactly one spelling (RFC 7515, section 2): no padding, no line breaks, no bits left over."""

import re
from base64 import urlsafe_b64decode
from typing import Final

_ALPHABET: Final = re.compile(r"[A-Za-z0-9_-]*")


def decode(text: str) -> bytes | None:
    """The octets that `text` spells, None where it is not their only spelling.

    RFC 4648, section 3.5: "decoders MAY choose to reject an encoding if the pad bits have not been set to zero": a
    token that can be rewritten without breaking its signature is known by no digest.
    """
    rest = len(text) % 4
    if rest == 1 or _ALPHABET.fullmatch(text) is None:
        return None
    octets = urlsafe_b64decode(text + "=" * (-rest % 4))
    # The last character's unused bits: 4 of 6 behind one octet, 2 behind two.
    return octets if not rest or _SEXTETS.index(text[-1]) & (0b1111 if rest == 2 else 0b11) == 0 else None


_SEXTETS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
