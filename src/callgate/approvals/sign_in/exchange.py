"""What the gate asks the provider itself: tokens for a code, and what it says of a person."""

import re
import ssl
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

from callgate.approvals.sign_in.provider import Provider
from callgate.approvals.sign_in.refused import SignInReason, SignInRefused
from callgate.approvals.sign_in.settings import SignInSettings
from callgate.users.fetch import Fetched, Question, ask
from callgate.users.unusable import Unusable
from callgate.wire.json_strict import JsonLimits, JsonObject, loads
from callgate.yaml_strict import shown

# Three tokens with 200 groups in each of them come to 48 KiB.
MAX_ANSWER_BYTES: Final = 64 * 1024
_LIMITS: Final = JsonLimits(max_bytes=MAX_ANSWER_BYTES, max_depth=8, safe_integers=False, max_values=5_000)
# RFC 6750, section 2.1: b64token; what is no such token must not get into a header.
_B64TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the provider gave for a code."""

    id_token: str = field(repr=False)
    access_token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Line:
    """The way to the provider: whom to trust, and how long one answer may take, in seconds."""

    tls: ssl.SSLContext
    timeout_s: float


async def redeem(
    settings: SignInSettings, provider: Provider, code: str, verifier: str, line: Line
) -> Tokens | SignInRefused:
    """Tokens for a code (RFC 6749, section 4.1.3; RFC 7636, section 4.5)."""
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": settings.redirect_uri,
        "code_verifier": verifier,
    }
    headers: dict[str, str] = {}
    secret = settings.client_secret
    if secret is not None and provider.takes_basic:
        headers["Authorization"] = _basic(settings.client_id, secret)
    else:
        form["client_id"] = settings.client_id
        if secret is not None:
            form["client_secret"] = secret.decode("ascii")
    question = Question(provider.token_endpoint, headers, form, statuses=frozenset({200, 400, 401}))
    answer = await ask(question, line.tls, MAX_ANSWER_BYTES, line.timeout_s)
    return _read_tokens(answer)


def _basic(client_id: str, secret: bytes) -> str:
    """RFC 6749, section 2.3.1: both are form-encoded before they go into RFC 7617's user name and password.

    A space becomes "%20" and not "+", which some providers do not take for one.
    """
    pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
    return "Basic " + b64encode(pair.encode()).decode()


def _read_tokens(answer: Fetched | Unusable) -> Tokens | SignInRefused:
    if isinstance(answer, Unusable):
        return SignInRefused(SignInReason.PROVIDER_UNAVAILABLE, answer.why)
    found = loads(answer.octets, _LIMITS)
    if not isinstance(found, dict):
        return SignInRefused(SignInReason.TOKENS_UNUSABLE, "not a JSON object")
    if answer.status != 200:
        return _refused_by(found)
    id_token, access_token = found.get("id_token"), found.get("access_token")
    if not isinstance(id_token, str) or not isinstance(access_token, str) or not _B64TOKEN.fullmatch(access_token):
        return SignInRefused(SignInReason.TOKENS_UNUSABLE, "no ID token, or no access token")
    # OpenID Connect Core 1.0, section 3.1.3.3: "The OAuth 2.0 token_type response parameter value MUST be Bearer".
    if str(found.get("token_type")).lower() != "bearer":
        return SignInRefused(SignInReason.TOKENS_UNUSABLE, "the token type is not Bearer")
    return Tokens(id_token, access_token)


def _refused_by(found: JsonObject) -> SignInRefused:
    """RFC 6749, section 5.2."""
    error = str(found.get("error"))
    reasons = {"invalid_grant": SignInReason.CODE_REFUSED, "invalid_client": SignInReason.CLIENT_REFUSED}
    return SignInRefused(reasons.get(error, SignInReason.PROVIDER_ERROR), ascii(shown(error)))


async def userinfo(provider: Provider, tokens: Tokens, subject: str, line: Line) -> JsonObject | SignInRefused:
    """What else the provider says of the person (OpenID Connect Core 1.0, section 5.3)."""
    headers = {"Authorization": f"Bearer {tokens.access_token}"}
    answer = await ask(Question(provider.userinfo_endpoint, headers), line.tls, MAX_ANSWER_BYTES, line.timeout_s)
    if isinstance(answer, Unusable):
        return SignInRefused(SignInReason.USERINFO_UNUSABLE, answer.why)
    found = loads(answer.octets, _LIMITS)
    if answer.media_type != "application/json" or not isinstance(found, dict):
        return SignInRefused(SignInReason.USERINFO_UNUSABLE, f"{shown(answer.media_type)!a} is not one JSON object")
    # Section 5.3.2: "The sub Claim in the UserInfo Response MUST be verified to exactly match the sub Claim in the ID
    # Token; if they do not match, the UserInfo Response values MUST NOT be used."
    if found.get("sub") != subject:
        return SignInRefused(SignInReason.USERINFO_SUBJECT)
    return found
