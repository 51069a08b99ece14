"""What a tool server is told, read by parsers that are not the gate's."""

import base64
import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

from support.upstream import Asked

# Every header that the gate may send; the rest of what an agent says ends at the gate.
HEADERS = {
    "host",
    "accept",
    "content-type",
    "content-length",
    "traceparent",
    "tracestate",
    "authorization",
    "mcp-protocol-version",
    "mcp-method",
    "mcp-name",
    "mcp-session-id",
}
_STRING = re.compile(rb'"(?:\\.|[^"\\])*"')
_NODE = """
const texts = JSON.parse(require('fs').readFileSync(0, 'utf8'));
const read = texts.map((text) => {
  const message = JSON.parse(Buffer.from(text, 'base64').toString('utf8'));
  const params = message.params || {};
  return [message.method, params.name === undefined ? null : params.name,
          params.arguments === undefined ? null : params.arguments];
});
process.stdout.write(JSON.stringify(read));
"""

Said = tuple[str, str | None, Any]


def by_python(asked: Asked) -> Said:
    """Method, name and arguments; fails for a key that stands twice."""
    message = json.loads(asked.body.decode(), object_pairs_hook=_without_repetition)
    params = message.get("params", {})
    return message["method"], params.get("name"), params.get("arguments")


def by_node(asked: Sequence[Asked]) -> list[Said] | None:
    """The same as JavaScript reads it, numbers as doubles; None on a machine without Node."""
    node = shutil.which("node")
    if node is None:
        return None
    texts = json.dumps([base64.b64encode(each.body).decode() for each in asked])
    done = subprocess.run([node, "-e", _NODE], input=texts, capture_output=True, text=True, check=True, timeout=60)
    # JavaScript writes a double without a fraction as an integer.
    return [(method, name, arguments) for method, name, arguments in json.loads(done.stdout, parse_int=float)]


def is_compact(body: bytes) -> bool:
    """Whether there is no white space outside strings: the gate writes none."""
    return re.search(rb"\s", _STRING.sub(b"", body)) is None


def claims_of(asked: Asked) -> dict[str, Any]:
    """The claims of the token that came with it."""
    bearer = asked.header("authorization") or ""
    payload = bearer.removeprefix("Bearer ").split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def span_id(asked: Asked) -> int:
    """Which of the gate's CLIENT spans it belongs to."""
    return int((asked.header("traceparent") or "").split("-")[2], 16)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), names
    return dict(pairs)
