"""identify: on whose behalf, which server, and does the session belong to the one who names it?"""

from callgate.errors import Reason, Refusal
from callgate.identity.trust import Peer, still_trusted
from callgate.identity.user import User
from callgate.parts import Identified, Parts
from callgate.policy.call import Call
from callgate.users.access_token import bearer_token
from callgate.wire.mcp import Request
from callgate.wire.session import Session


class Identification:
    """Holds nothing of any one call."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def trusted(self, peer: Peer, now: float) -> Peer | Refusal:
        """The peer, if it still is who it was under the trust bundles of this moment (Unix seconds)."""
        identity = self._parts.identity()
        return Refusal(Reason.IDENTITY_UNAVAILABLE) if identity is None else still_trusted(peer, identity.bundles, now)

    async def user_of(self, peer: Peer, request: Request, now: float) -> User | Refusal | None:
        """Whose token came along; a token that is no good is a refusal, and never nobody's."""
        if self._parts.verify_user is None:
            return None
        token = bearer_token(request.authorization)
        if token is None or isinstance(token, Refusal):
            return token
        return await self._parts.verify_user(token, peer.leaf_sha256, now)

    def identified(self, peer: Peer, request: Request, user: User | None) -> Identified | Refusal:
        """The call to decide on."""
        now = self._parts.clock.now()
        # The session first: whether there is such a server is not to be read off a handle that was made up.
        session = self._session_of(peer, request, now)
        if isinstance(session, Refusal):
            return session
        if request.server not in self._parts.routes:
            return Refusal(Reason.SERVER_UNKNOWN, told_as=Reason.NO_GRANT)
        call = Call(
            caller=peer.id,
            server=request.server,
            method=request.message.method,
            tool=request.tool,
            arguments=request.arguments,
            now=now,
            svid_not_before=peer.not_before,
            svid_not_after=peer.not_after,
            revision=request.revision,
            size_bytes=request.size_bytes,
            purpose=request.purpose,
            user=user,
            annotations=self._parts.annotations.of(request.server, request.tool),
            history=self._parts.history.of(peer.id),
        )
        return Identified(request, call, session)

    def _session_of(self, peer: Peer, request: Request, now: float) -> Session | Refusal | None:
        if request.session_handle is None:
            return None
        max_age_s = self._parts.limits.session_max_age_s
        return self._parts.sealer.open(request.session_handle, peer.id, request.server, now, max_age_s)
