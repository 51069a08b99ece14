"""Who a person is for policies, by what the provider says of them.  Pure."""

from collections.abc import Sequence
from typing import Final

from callgate.approvals.model import LOCAL_GROUP, LOCAL_PREFIX, Means, Person
from callgate.approvals.sign_in.id_token import IdToken
from callgate.approvals.sign_in.refused import SignInReason, SignInRefused
from callgate.approvals.sign_in.settings import SignInSettings
from callgate.users.user_token import claim_elsewhere, folded, groups_of
from callgate.wire.json_strict import JsonObject

# RFC 5321, section 4.5.3.1: an address has at most 64 + 1 + 255 characters, and RFC 3696's erratum says 254.
MAX_NAME_CHARACTERS: Final = 254
_EMAIL: Final = "email"
_VERIFIED: Final = "email_verified"


def has_all(claims: JsonObject, settings: SignInSettings) -> bool:
    """Whether these claims say all that is asked for, so that nothing more has to be fetched."""
    return settings.groups_claim in claims and _says_name(claims, settings.name_claim)


def person_of(
    id_token: IdToken, userinfo: JsonObject | None, settings: SignInSettings, signed_in: float
) -> Person | SignInRefused:
    """The person, signed in at that moment (Unix seconds).  What the ID token says comes before what `userinfo` does."""
    documents = [id_token.claims, *([] if userinfo is None else [userinfo])]
    name = _name(documents, settings.name_claim)
    if isinstance(name, SignInRefused):
        return name
    groups = _groups(documents, settings.groups_claim)
    if isinstance(groups, SignInRefused):
        return groups
    return Person(name, groups, Means.OIDC, signed_in, issuer=settings.issuer, subject=id_token.subject)


def _says_name(claims: JsonObject, name_claim: str) -> bool:
    return name_claim in claims and (name_claim != _EMAIL or _VERIFIED in claims)


def _name(documents: Sequence[JsonObject], name_claim: str) -> str | SignInRefused:
    found: JsonObject = next((each for each in documents if _says_name(each, name_claim)), {})
    # One that says the address, and not whether it is verified, says nothing; the message is to tell the two apart.
    if not found and any(name_claim in each for each in documents):
        return SignInRefused(SignInReason.EMAIL_NOT_VERIFIED, "there is no claim 'email_verified'")
    name = found.get(name_claim)
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME_CHARACTERS or not name.isprintable():
        return SignInRefused(SignInReason.NAME_MISSING, f"claim '{name_claim}'")
    # OpenID Connect Core 1.0, section 5.7: an address that nobody verified is whatever its bearer typed.
    if name_claim == _EMAIL and found.get(_VERIFIED) is not True:
        return SignInRefused(SignInReason.EMAIL_NOT_VERIFIED, "'email_verified' is not true")
    if _is_reserved(name):
        return SignInRefused(SignInReason.NAME_RESERVED)
    return name


def _is_reserved(name: str) -> bool:
    """What stands for a user of this machine, or for a workload; also for those who fold or trim names."""
    plain = folded(name)
    return plain == LOCAL_GROUP or plain.startswith((LOCAL_PREFIX, "spiffe://"))


def _groups(documents: Sequence[JsonObject], groups_claim: str) -> frozenset[str] | SignInRefused:
    found = next((each for each in documents if groups_claim in each), None)
    if found is None:
        # Read as "no groups", an owner of the workload would not be known as one.
        if any(claim_elsewhere(each, [groups_claim]) for each in documents):
            return SignInRefused(SignInReason.GROUPS_UNREADABLE, f"'{groups_claim}' has to be fetched elsewhere")
        return frozenset()
    groups = groups_of(found, groups_claim)
    if groups is None:
        return SignInRefused(SignInReason.GROUPS_UNREADABLE, f"'{groups_claim}' is no list of names, or too long")
    return frozenset(group for group in groups if folded(group) != LOCAL_GROUP)
