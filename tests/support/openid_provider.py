"""A real OpenID provider (Canaille) in its own process, and a user who logs in there as a browser would.

with provider_served(audience) as provider:
    tokens = provider.log_in("agents")
"""

import json
import re
import secrets
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from html import unescape
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import httpx2

SCRIPT: Final = Path(__file__).with_name("play_provider.py")
# Nobody listens there: the browser's last request is never sent.
REDIRECT_URI: Final = "http://127.0.0.1:9/callback"
END_S: Final = 10
USER: Final = {
    "user_name": "alice",
    "family_name": "Liddell",
    "formatted_name": "Alice Liddell",
    "emails": ["alice@acme.test"],
    "password": "curiouser and curiouser",
}
GROUPS: Final = ["billing", "clerks"]
CLIENTS: Final = {"agents": "RS256", "agents-eddsa": "EdDSA"}
CLIENT_SECRET: Final = "correct horse battery staple"
_FIELD: Final = re.compile(r"<input[^>]*>")
_ATTRIBUTE: Final = re.compile(r'([a-z]+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Member:
    """Somebody whom the provider knows; `user` as USER."""

    user: Mapping[str, object]
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Tokens:
    """What the token endpoint gave out."""

    access_token: str
    id_token: str


@dataclass(frozen=True, slots=True)
class Provider:
    """A running one."""

    port: int
    child: subprocess.Popen[str]

    @property
    def issuer(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """End it at once."""
        self.child.kill()
        self.child.wait(END_S)

    def log_in(self, client_id: str) -> Tokens:
        """The authorization code flow with PKCE: user name, password, code, tokens."""
        verifier = secrets.token_urlsafe(48)
        with httpx2.Client(base_url=self.issuer, trust_env=False, timeout=60) as http:
            metadata = http.get("/.well-known/openid-configuration").json()
            code = _code_of(_log_in(http, metadata["authorization_endpoint"], client_id, verifier))
            form = {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": REDIRECT_URI,
                "code_verifier": verifier,
            }
            response = http.post(metadata["token_endpoint"], data=form, auth=(client_id, CLIENT_SECRET))
            found = response.json()
            assert response.status_code == 200, found
            return Tokens(found["access_token"], found["id_token"])


def _log_in(http: httpx2.Client, authorization_endpoint: str, client_id: str, verifier: str) -> str:
    """Follow the redirects, filling in what is asked for; returns the URL that the browser is sent to in the end."""
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": "openid profile email groups",
        "state": secrets.token_urlsafe(16),
        "nonce": secrets.token_urlsafe(16),
        "code_challenge": urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    known = {"login": str(USER["user_name"]), "password": str(USER["password"])}
    response = http.get(authorization_endpoint, params=query)
    for _ in range(10):
        if response.is_redirect:
            target = response.headers["location"]
            if target.startswith(REDIRECT_URI):
                return str(target)
            response = http.get(target)
        else:
            assert response.status_code == 200, response.text
            response = http.post(response.url, data=filled_in(response.text, known))
    raise AssertionError(f"no way to {REDIRECT_URI}: {response.url}")


def filled_in(page: str, known: dict[str, str]) -> dict[str, str]:
    """What a browser posts once somebody has filled in what the page asks for of `known`."""
    fields = [dict(_ATTRIBUTE.findall(tag)) for tag in _FIELD.findall(page)]
    values = {field["name"]: unescape(field.get("value", "")) for field in fields if "name" in field}
    asked = known.keys() & values.keys()
    assert asked, page
    return {name: values[name] for name in ("csrf_token",) if name in values} | {name: known[name] for name in asked}


def _code_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["code"][0]


@contextmanager
def provider_served(
    audience: str, port: int = 0, sites: Mapping[str, str] | None = None, people: Sequence[Member] = ()
) -> Iterator[Provider]:
    """Start it, wait for its ready line, end it by its process id.  Fails where it does not start.

    `sites`: clients that people sign in at, and where each has them sent back.  `people`: beside USER.
    """
    wanted = {
        "port": port,
        "audience": audience,
        "redirect_uri": REDIRECT_URI,
        "user": USER,
        "groups": GROUPS,
        "clients": CLIENTS,
        "client_secret": CLIENT_SECRET,
        "sites": dict(sites or {}),
        "people": [{"user": dict(member.user), "groups": list(member.groups)} for member in people],
    }
    command = [sys.executable, str(SCRIPT), json.dumps(wanted)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        provider = Provider(0, child)
        try:
            assert child.stdout is not None
            word, _, found = child.stdout.readline().partition(" ")
            assert word == "ready", "the provider did not start; run it by hand to see why"
            yield replace(provider, port=int(found))
        finally:
            provider.stop()
