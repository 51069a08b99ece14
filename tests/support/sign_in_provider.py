"""An OpenID provider on a socket that speaks the real protocol, and can be told to misbehave in any one thing.

    async with SignInProvider.open() as provider:
        provider.said["email_verified"] = False
        provider.answers["/token"] = answer(b"x" * 100_000)

Whoever comes is signed in there already, as `provider.said` says.  It checks what a provider has to check: client,
redirect URI, PKCE, that a code is used once, the bearer of the access token.
"""

import hashlib
import hmac
import secrets
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

import orjson
import trio
from joserfc.jwk import Key

from support.key_endpoint import KEYS, NOT_FOUND, OPENID, answer
from support.user_tokens import ALGORITHMS, NOW, base64url, compact, jwks_of, public_jwk, signature_of, user_key

CLIENT_ID: Final = "call gate"
CLIENT_SECRET: Final = "a+b %&: c"
AUTHORIZE: Final = "/authorize"
TOKEN: Final = "/token"
USERINFO: Final = "/userinfo"
Form = Mapping[str, str]


@dataclass(frozen=True)
class Granted:
    """What a code stands for."""

    nonce: str
    challenge: str
    redirect_uri: str


@dataclass
class SignInProvider:
    """One that behaves, but for what a test changes; None in a change leaves a member out.

    `said`: changes to the ID token's claims, `head` to its header, `info` to what userinfo says; `metadata`, `callback`
    and `tokens` to those.  `public`: the keys that it publishes instead of `key`, `signer` the one that signs instead.
    `answers`: what stands at a path instead of what should.  `held`: paths whose answers wait for an event.
    `asked`: the paths that were asked for, `forms` what was posted, `queries` what browsers came with, `secrets_given`
    all that nobody may ever read in a log.
    """

    port: int
    key: Key = field(default_factory=lambda: user_key("P-256"))
    now: float = NOW
    said: dict[str, Any] = field(default_factory=dict)
    head: dict[str, Any] = field(default_factory=dict)
    info: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    callback: dict[str, Any] = field(default_factory=dict)
    tokens: dict[str, Any] = field(default_factory=dict)
    answers: dict[str, bytes] = field(default_factory=dict)
    held: dict[str, trio.Event] = field(default_factory=dict)
    public: tuple[Key, ...] = ()
    signer: Key | None = None
    asked: list[str] = field(default_factory=list)
    forms: list[dict[str, str]] = field(default_factory=list)
    queries: list[dict[str, str]] = field(default_factory=list)
    secrets_given: list[str] = field(default_factory=list)
    _codes: dict[str, Granted] = field(default_factory=dict)
    _access_tokens: set[str] = field(default_factory=set)

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator["SignInProvider"]:
        """One that behaves."""
        async with trio.open_nursery() as nursery:
            listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
            provider = cls(listeners[0].socket.getsockname()[1])
            nursery.start_soon(trio.serve_listeners, provider._serve, listeners)
            yield provider
            nursery.cancel_scope.cancel()

    async def _serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            received = bytearray()
            while not _is_whole(received):
                if not (more := await stream.receive_some()):
                    return
                received += more
            head, _, body = bytes(received).partition(b"\r\n\r\n")
            method, target, _ = head.split(b" ", 2)
            url = urlsplit(target.decode())
            self.asked.append(url.path)
            reply = self.answers.get(url.path) or self._answer(method, url.path, _pairs(url.query), head, body)
            if url.path in self.held:
                await self.held[url.path].wait()
            try:
                await stream.send_all(reply)
            except trio.BrokenResourceError:
                # A client that has read enough.
                return

    def _answer(self, method: bytes, path: str, query: Form, head: bytes, body: bytes) -> bytes:
        match method, path:
            case b"GET", path if path == OPENID:
                return _json(self._metadata())
            case b"GET", path if path == KEYS:
                return answer(jwks_of(*(self.public or (self.key,))))
            case b"GET", path if path == AUTHORIZE:
                return self._authorize(query)
            case b"POST", path if path == TOKEN:
                return self._token(_pairs(body.decode()), _authorization(head))
            case b"GET", path if path == USERINFO:
                return self._userinfo(_authorization(head))
        return NOT_FOUND

    def _metadata(self) -> dict[str, Any]:
        return _changed(
            {
                "issuer": self.issuer,
                "jwks_uri": self.issuer + KEYS,
                "authorization_endpoint": self.issuer + AUTHORIZE,
                "token_endpoint": self.issuer + TOKEN,
                "userinfo_endpoint": self.issuer + USERINFO,
                "code_challenge_methods_supported": ["S256"],
                "authorization_response_iss_parameter_supported": True,
            },
            self.metadata,
        )

    def _authorize(self, query: Form) -> bytes:
        self.queries.append(dict(query))
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = Granted(query["nonce"], query["code_challenge"], query["redirect_uri"])
        back = _changed({"code": code, "state": query["state"], "iss": self.issuer}, self.callback)
        return answer(b"", f"Location: {query['redirect_uri']}?{urlencode(back)}", status="303 See Other")

    def _token(self, form: Form, authorization: str) -> bytes:
        self.forms.append(dict(form))
        if not self._knows_client(form, authorization):
            return _json({"error": "invalid_client"}, "401 Unauthorized")
        granted = self._codes.pop(form["code"], None)
        challenge = base64url(hashlib.sha256(form["code_verifier"].encode()).digest())
        if granted is None or (granted.challenge, granted.redirect_uri) != (challenge, form["redirect_uri"]):
            return _json({"error": "invalid_grant"}, "400 Bad Request")
        access_token = secrets.token_urlsafe(24)
        self._access_tokens.add(access_token)
        id_token = self.id_token(granted.nonce, access_token)
        self.secrets_given += [access_token, id_token, form["code"], form["code_verifier"]]
        given = {"access_token": access_token, "token_type": "Bearer", "expires_in": 300, "id_token": id_token}
        return _json(_changed(given, self.tokens))

    def _knows_client(self, form: Form, authorization: str) -> bool:
        if authorization.startswith("Basic "):
            user, _, password = b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
            return (unquote_plus(user), unquote_plus(password)) == (CLIENT_ID, CLIENT_SECRET)
        return form.get("client_id") == CLIENT_ID and form.get("client_secret", CLIENT_SECRET) == CLIENT_SECRET

    def _userinfo(self, authorization: str) -> bytes:
        if authorization.removeprefix("Bearer ") not in self._access_tokens:
            return answer(b"", status="401 Unauthorized")
        return _json(_changed({"sub": "u-1"}, self.info))

    def id_token(self, nonce: str, access_token: str) -> str:
        """What it gives out: a good one, but for `said` and `head`."""
        alg = self.head.get("alg", "ES256")
        claims = {
            "iss": self.issuer,
            "sub": "u-1",
            "aud": CLIENT_ID,
            "exp": int(self.now) + 300,
            "iat": int(self.now) - 1,
            "auth_time": int(self.now) - 20,
            "nonce": nonce,
            "email": "alice@acme.test",
            "email_verified": True,
            "groups": ["payments-leads"],
        }
        digest = hashlib.sha256(access_token.encode()).digest()
        if alg == "ES256":
            claims["at_hash"] = base64url(digest[:16])
        head = _changed({"alg": alg, "kid": self.key.kid}, self.head)
        payload = orjson.dumps(_changed(claims, self.said))
        if alg not in ALGORITHMS:
            return _forged(alg, orjson.dumps(head), payload, orjson.dumps(public_jwk(self.key)))
        return compact(orjson.dumps(head), payload, signature_of(alg, self.signer or self.key))


def _forged(alg: str, head: bytes, payload: bytes, public: bytes) -> str:
    """No signature for `none`; for HS256, the public key as the shared secret (RFC 8725, section 2.1)."""
    if alg == "none":
        return compact(head, payload, lambda _: b"")
    return compact(head, payload, lambda octets: hmac.digest(public, octets, "sha256"))


def _changed(members: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**members, **changes}.items() if value is not None}


def _json(value: object, status: str = "200 OK") -> bytes:
    return answer(orjson.dumps(value), status=status)


def _pairs(text: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(text, keep_blank_values=True).items()}


def _authorization(head: bytes) -> str:
    lines = (line.partition(b":") for line in head.split(b"\r\n")[1:])
    return next((value.strip().decode() for name, _, value in lines if name.lower() == b"authorization"), "")


def _is_whole(received: bytearray) -> bool:
    head, found, body = bytes(received).partition(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return bool(found) and len(body) >= int(lengths[0] if lengths else 0)
