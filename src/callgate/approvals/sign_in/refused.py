"""Why a person could not sign in, and what they can do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class SignInReason(StrEnum):
    """Stable codes: they are on the page and in the log, so one is never renamed or reused."""

    NOT_CONFIGURED = "sign_in_not_configured"
    UNKNOWN = "sign_in_unknown"
    CALLBACK_MALFORMED = "callback_malformed"
    ISSUER_MISMATCH = "issuer_mismatch"
    ACCESS_DENIED = "access_denied"
    PROVIDER_ERROR = "provider_error"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    CODE_REFUSED = "code_refused"
    CLIENT_REFUSED = "client_refused"
    TOKENS_UNUSABLE = "tokens_unusable"
    ID_TOKEN_MALFORMED = "id_token_malformed"  # noqa: S105  # a reason, no token; so are the next
    ID_TOKEN_ALGORITHM = "id_token_algorithm"  # noqa: S105
    ID_TOKEN_SIGNATURE = "id_token_signature"  # noqa: S105
    ID_TOKEN_ISSUER = "id_token_issuer"  # noqa: S105
    ID_TOKEN_AUDIENCE = "id_token_audience"  # noqa: S105
    ID_TOKEN_EXPIRED = "id_token_expired"  # noqa: S105
    ID_TOKEN_NOT_YET_VALID = "id_token_not_yet_valid"  # noqa: S105
    ID_TOKEN_NONCE = "id_token_nonce"  # noqa: S105
    ID_TOKEN_ACCESS_TOKEN = "id_token_access_token"  # noqa: S105
    KEYS_UNAVAILABLE = "provider_keys_unavailable"
    AUTH_TIME_MISSING = "auth_time_missing"
    NOT_FRESH = "sign_in_not_fresh"
    USERINFO_UNUSABLE = "userinfo_unusable"
    USERINFO_SUBJECT = "userinfo_subject"
    NAME_MISSING = "name_missing"
    NAME_RESERVED = "name_reserved"
    EMAIL_NOT_VERIFIED = "email_not_verified"
    GROUPS_UNREADABLE = "groups_unreadable"
    LINK_UNKNOWN = "link_unknown"
    CROSS_SITE = "cross_site"


@dataclass(frozen=True, slots=True)
class SignInRefused:
    """A person was not signed in.  `detail` is for an operator; it holds no token and no secret."""

    reason: SignInReason
    detail: str = ""


_AGAIN: Final = "Sign in once more. Should it stay so, tell whoever runs the gate the code below."
_OPERATOR: Final = "Tell whoever runs the gate the code below: the provider or the gate is set up wrongly."
_LATER: Final = "Try again in a minute. Should it stay so, tell whoever runs the gate the code below."
_SUSPECT: Final = "Nothing was signed in. Somebody may be interfering: tell whoever runs the gate the code below before you try again."

# One sentence of what happened, and what to do; for reasons that are not here, the sign-in's answer was not the one
# that was asked for.
_SAID: Final[Mapping[SignInReason, tuple[str, str]]] = MappingProxyType(
    {
        SignInReason.NOT_CONFIGURED: (
            "This gate has no identity provider to sign in at.",
            "On the gate's machine, `callgate approvals link` prints a link that signs you in.",
        ),
        SignInReason.UNKNOWN: (
            "This browser has begun no such sign-in, or it took longer than ten minutes.",
            "Begin at the approvals page, in the browser in which you want to use it.",
        ),
        SignInReason.CALLBACK_MALFORMED: ("The provider's answer cannot be read.", _AGAIN),
        SignInReason.ACCESS_DENIED: (
            "The provider says that access was denied.",
            "Agree to it there, or ask whoever runs the provider to let you use this application.",
        ),
        SignInReason.PROVIDER_ERROR: ("The provider could not sign you in.", _AGAIN),
        SignInReason.PROVIDER_UNAVAILABLE: ("The provider does not answer as it should.", _LATER),
        SignInReason.KEYS_UNAVAILABLE: ("The provider's keys cannot be had.", _LATER),
        SignInReason.CODE_REFUSED: (
            "The provider did not take its own answer back: it was used, or is too old.",
            _AGAIN,
        ),
        SignInReason.CLIENT_REFUSED: ("The provider does not know this gate, or not by that secret.", _OPERATOR),
        SignInReason.TOKENS_UNUSABLE: ("The provider's answer to the gate cannot be read.", _OPERATOR),
        SignInReason.AUTH_TIME_MISSING: (
            "The provider does not say when you proved who you are, and that is needed here.",
            _OPERATOR,
        ),
        SignInReason.NOT_FRESH: (
            "The provider did not ask you anew who you are, or that was longer ago than a minute.",
            "Sign out at the provider, then sign in once more.",
        ),
        SignInReason.USERINFO_UNUSABLE: ("The provider does not say who you are in a way that can be read.", _LATER),
        SignInReason.NAME_MISSING: ("The provider does not say your name in the claim that is configured.", _OPERATOR),
        SignInReason.NAME_RESERVED: (
            "Your name at the provider is one that stands for a user of the gate's machine.",
            _OPERATOR,
        ),
        SignInReason.EMAIL_NOT_VERIFIED: (
            "The provider does not vouch for your e-mail address.",
            "Verify it there, then sign in once more.",
        ),
        SignInReason.GROUPS_UNREADABLE: (
            "The provider does not say which groups you are in so that it can be read.",
            _OPERATOR,
        ),
        SignInReason.LINK_UNKNOWN: (
            "This link was used, or is older than a minute.",
            "`callgate approvals link` prints another.",
        ),
        SignInReason.CROSS_SITE: ("This did not come from the gate's own page.", "Go back and press the button there."),
    }
)
_UNAVAILABLE: Final = frozenset(
    {
        SignInReason.PROVIDER_UNAVAILABLE,
        SignInReason.KEYS_UNAVAILABLE,
        SignInReason.USERINFO_UNUSABLE,
    }
)


def said_of(reason: SignInReason) -> tuple[str, str]:
    """What the page says: what happened, and what to do."""
    return _SAID.get(reason, ("What the provider says of you cannot be believed.", _SUSPECT))


def status_of(reason: SignInReason) -> int:
    """The page's HTTP status."""
    return 503 if reason in _UNAVAILABLE else 403
