"""The second listener: keys, metadata, health and readiness, for callers without a certificate."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from callgate.errors import ANSWERS, Refusal
from callgate.net.connection import Connection
from callgate.wire.http1 import RawRequest
from callgate.wire.json_strict import dumps


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether calls can be served, and if not, why (one short sentence for each thing that is missing).

    `notes`: what is wrong although calls can be served.
    """

    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def status(self) -> int:
        """200 or 503."""
        return 503 if self.missing else 200

    @property
    def document(self) -> Mapping[str, object]:
        """What `/readyz` says."""
        told: dict[str, object] = {"ready": not self.missing, "missing": list(self.missing)}
        return told | {"notes": list(self.notes)} if self.notes else told


@dataclass(frozen=True, slots=True)
class AdminSite:
    """What is served: `documents` by path (JSON), and readiness as of now."""

    documents: Mapping[str, Callable[[], Mapping[str, object]]]
    readiness: Callable[[], Readiness]

    async def answer(self, found: RawRequest | Refusal, connection: Connection) -> None:
        """Answer one request."""
        status, document = self._page(found)
        headers = [("content-type", "application/json"), ("cache-control", self._caching(found, status))]
        await connection.reply(status, headers, dumps(document))

    def _page(self, found: RawRequest | Refusal) -> tuple[int, Mapping[str, object]]:
        if isinstance(found, Refusal):
            return ANSWERS[found.reason].http_status, {"error": str(found.reason)}
        if found.method != "GET":
            return 405, {"error": "only GET is served here"}
        if found.target == "/healthz":
            return 200, {"alive": True}
        if found.target == "/readyz":
            readiness = self.readiness()
            return readiness.status, readiness.document
        document = self.documents.get(found.target)
        return (200, document()) if document else (404, {"error": "nothing is served at this path"})

    def _caching(self, found: RawRequest | Refusal, status: int) -> str:
        is_document = status == 200 and isinstance(found, RawRequest) and found.target in self.documents
        return "public, max-age=60" if is_document else "no-store"
