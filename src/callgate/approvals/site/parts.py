"""What the site is made of, and where its code finds that."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import Request

from callgate.approvals.model import Moment
from callgate.approvals.site.places import Places
from callgate.approvals.site.recent import Recent
from callgate.policy.compile import Policy

if TYPE_CHECKING:
    from callgate.approvals.desk import Desk
    from callgate.approvals.notify.slack import SlackClicks
    from callgate.approvals.sign_in.oidc import SignIn
    from callgate.approvals.store_thread import StoreThread


@dataclass(frozen=True, slots=True)
class SiteParts:
    """What the site needs of the gate.

    `url`: where people reach it, as "https://gate.acme.test:8444", no slash at the end.  `policy`: the one in force.
    `session_idle_s` and `session_max_s`: how long a sign-in holds without being used, and at all.  `sign_in`, `slack`: None
    where nothing is configured.  `uids`: who may come by the admin socket.  `issuer`: whose sign-ins hold, "" for nobody's.  `recent`, `places`:
    what is counted of sessions and of live updates.
    """

    desk: "Desk"
    store: "StoreThread"
    moment: Callable[[], Moment]
    policy: Callable[[], Policy]
    url: str
    session_idle_s: int
    session_max_s: int
    sign_in: "SignIn | None"
    slack: "SlackClicks | None"
    secret: Callable[[int], bytes]
    uids: frozenset[int] = frozenset()
    issuer: str = ""
    recent: Recent = field(default_factory=Recent)
    places: Places = field(default_factory=Places)


def parts_of(request: Request) -> SiteParts:
    """The site's parts."""
    parts = request.app.state.parts
    if not isinstance(parts, SiteParts):
        raise TypeError("the site was made without its parts")
    return parts
