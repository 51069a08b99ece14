"""Canaille, a real OpenID provider, as its own process: python play_provider.py SETTINGS

SETTINGS is a JSON object: `port` (0 takes a free one), `audience`, `redirect_uri`, `user` (members of Canaille's),
`groups` that the user is in, `clients` (name to algorithm) that may ask for tokens for the audience, and their
`client_secret`; `sites`, clients that people sign in at (name to redirect URI); and `people`, more users with their
groups.  "ready PORT" is printed once it listens.  Its keys are new at each start.
"""

import asyncio
import json
import socket
import sys
from collections.abc import Mapping
from typing import Any

import canaille  # type: ignore[import-untyped]
from asgiref.wsgi import WsgiToAsgi
from canaille.app import models  # type: ignore[import-untyped]
from canaille.backends import Backend  # type: ignore[import-untyped]
from hypercorn.asyncio import serve
from hypercorn.config import Config
from joserfc.jwk import Key, OKPKey, RSAKey


def settings(port: int) -> dict[str, Any]:
    """The provider's configuration: in memory, http on loopback."""
    keys: list[Key] = [RSAKey.generate_key(2048, auto_kid=True), OKPKey.generate_key("Ed25519", auto_kid=True)]
    return {
        "SECRET_KEY": "only for this test",
        "SERVER_NAME": f"127.0.0.1:{port}",
        "PREFERRED_URL_SCHEME": "http",
        "CANAILLE": {"DATABASE": "memory"},
        "CANAILLE_OIDC": {"ACTIVE_JWKS": [key.as_dict(private=True) for key in keys]},
    }


def populate(wanted: Mapping[str, Any]) -> None:
    """The user, their groups, the gate and the clients."""
    user = models.User(**wanted["user"])
    Backend.instance.save(user)
    for name in wanted["groups"]:
        Backend.instance.save(models.Group(display_name=name, members=[user], owner=user))
    for entry in wanted.get("people", ()):
        member = models.User(**entry["user"])
        Backend.instance.save(member)
        for name in entry["groups"]:
            Backend.instance.save(models.Group(display_name=name, members=[member], owner=member))
    # Canaille writes the ids of a client's audience into `aud`: the gate is a client that never asks for anything.
    gate = models.Client(client_id=wanted["audience"], client_name="the gate", redirect_uris=[wanted["redirect_uri"]])
    Backend.instance.save(gate)
    for client_id, algorithm in wanted["clients"].items():
        client = models.Client(
            client_id=client_id,
            client_secret=wanted["client_secret"],
            client_name=client_id,
            # Canaille asks for no consent where this leads to loopback.
            client_uri="http://127.0.0.1",
            redirect_uris=[wanted["redirect_uri"]],
            grant_types=["authorization_code"],
            response_types=["code"],
            scope=["openid", "profile", "email", "groups"],
            token_endpoint_auth_method="client_secret_basic",
            id_token_signed_response_alg=algorithm,
            audience=[gate],
        )
        Backend.instance.save(client)


def add_sites(wanted: Mapping[str, Any]) -> None:
    """Clients whose tokens are for themselves: what people sign in at."""
    for client_id, redirect_uri in wanted.get("sites", {}).items():
        site = models.Client(
            client_id=client_id,
            client_secret=wanted["client_secret"],
            client_name=client_id,
            client_uri="http://127.0.0.1",
            redirect_uris=[redirect_uri],
            grant_types=["authorization_code"],
            response_types=["code"],
            scope=["openid", "profile", "email", "groups"],
            token_endpoint_auth_method="client_secret_basic",
        )
        Backend.instance.save(site)
        site.audience = [site]
        Backend.instance.save(site)


def main(wanted: Mapping[str, Any]) -> None:
    with socket.create_server(("127.0.0.1", wanted["port"])) as listener:
        port = int(listener.getsockname()[1])
        app = canaille.create_app(config=settings(port))
        with app.app_context(), Backend.instance.session():
            populate(wanted)
            add_sites(wanted)
        config = Config()
        config.bind = [f"fd://{listener.fileno()}"]
        print(f"ready {port}", flush=True)
        asyncio.run(serve(WsgiToAsgi(app), config))  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
