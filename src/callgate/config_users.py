"""The part `users` of callgate.yaml: who vouches for users.  Pure."""

from typing import Final

from pydantic import Field, field_validator

from callgate.config_values import Algorithm, ClaimName, KeyUrl, ServerUrl, Text, UserAudience
from callgate.users.discovery import DEFAULT_MAX_STALE_S, IssuerSettings
from callgate.users.key_set import KEY_KINDS
from callgate.users.user_token import DEFAULT_ALGORITHMS, DEFAULT_LEEWAY_S, MAX_LEEWAY_S, TokenRules, TokenTypes
from callgate.yaml_model import Items, Seconds, StrictModel

# Each is asked for its keys every five minutes; an organisation has one or two, and one for each partner.
MAX_USER_ISSUERS: Final = 16
MAX_USER_CLAIMS: Final = 32


class UserIssuerConfig(StrictModel):
    """Who vouches for users; `users.user_token.TokenRules` and `users.discovery.IssuerSettings` say more."""

    issuer: ServerUrl
    jwks_uri: KeyUrl | None = None
    algorithms: Items[Algorithm] = Field(default=DEFAULT_ALGORITHMS, min_length=1, max_length=len(KEY_KINDS))
    typ: TokenTypes = "at+jwt"
    groups_claim: ClaimName = "groups"
    claims: Items[ClaimName] = Field(default=(), max_length=MAX_USER_CLAIMS)
    ca_file: Text | None = None
    max_stale_s: Seconds = Field(
        default=DEFAULT_MAX_STALE_S,
        alias="max_stale",
        ge=300,
        le=86_400,
        description="how long keys count while the issuer cannot be asked; longer than most outages last",
    )


class UsersConfig(StrictModel):
    """Users' access tokens, sent by agents as `Authorization: Bearer`; without this part they are not looked at."""

    audience: UserAudience = ""
    leeway_s: Seconds = Field(
        default=DEFAULT_LEEWAY_S, alias="leeway", le=MAX_LEEWAY_S, description="clocks differ by seconds"
    )
    issuers: Items[UserIssuerConfig] = Field(min_length=1, max_length=MAX_USER_ISSUERS)

    @field_validator("issuers")
    @classmethod
    def _named_once(cls, issuers: tuple[UserIssuerConfig, ...]) -> tuple[UserIssuerConfig, ...]:
        names = [entry.issuer for entry in issuers]
        if len(set(names)) < len(names):
            raise ValueError("must name each issuer once")
        return issuers


def issuer_settings(entry: UserIssuerConfig, audience: str, leeway_s: int) -> IssuerSettings:
    """What `users.issuers.UserVerifier` is told of one issuer; `audience` names the gate."""
    rules = TokenRules(
        issuer=entry.issuer,
        audience=audience,
        algorithms=frozenset(entry.algorithms),
        typ=entry.typ,
        groups_claim=entry.groups_claim,
        claims=entry.claims,
        leeway_s=leeway_s,
    )
    return IssuerSettings(rules, entry.jwks_uri, entry.ca_file, entry.max_stale_s)
