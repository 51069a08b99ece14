"""What an issuer publishes and the gate does not go by."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why a document cannot be used, in words for an operator."""

    why: str
