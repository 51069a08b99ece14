"""TLS 1.3 records of our own making, for what no TLS library would send.

    context.keylog_filename = str(log)
    ...
    forger = Forger.of(log, tls.cipher(), records_sent=1)
    raw_socket.send(forger.key_update())

Only for the direction of the client, after its handshake, with AES-GCM.
"""

import hmac
import struct
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

# RFC 8446, appendix B.4, and section 7.3 for the lengths.
_HASHES = {"TLS_AES_256_GCM_SHA384": ("sha384", 48, 32), "TLS_AES_128_GCM_SHA256": ("sha256", 32, 16)}
_HANDSHAKE, _APPLICATION_DATA = 22, 23
_KEY_UPDATE, _UPDATE_REQUESTED = 24, 1


@dataclass
class Forger:
    """`secret`: client_application_traffic_secret_N.  `sent`: how many records have gone under it."""

    cipher: str
    secret: bytes
    sent: int

    @classmethod
    def of(cls, log: Path, cipher: str, *, records_sent: int) -> "Forger":
        """From the secrets that `ssl` wrote to its key log, which must be of this one connection."""
        lines = [line.split(" ") for line in log.read_text().splitlines()]
        (secret,) = [fields[2] for fields in lines if fields[0] == "CLIENT_TRAFFIC_SECRET_0"]
        return cls(cipher, bytes.fromhex(secret), records_sent)

    def key_update(self) -> bytes:
        """RFC 8446, 4.6.3: "request that the receiver [...] send a KeyUpdate of its own"; our own keys change, too."""
        message = struct.pack(">B3sB", _KEY_UPDATE, b"\0\0\1", _UPDATE_REQUESTED)
        record = self._record(message, _HANDSHAKE)
        self.secret, self.sent = self._expand(b"traffic upd", len(self.secret)), 0
        return record

    def application_data(self, content: bytes) -> bytes:
        """At most 16 KiB in one record."""
        return self._record(content, _APPLICATION_DATA)

    def _record(self, content: bytes, kind: int) -> bytes:
        """RFC 8446, 5.2 and 5.3."""
        inner = content + bytes([kind])
        header = struct.pack(">BHH", _APPLICATION_DATA, 0x0303, len(inner) + 16)
        key = self._expand(b"key", _HASHES[self.cipher][2])
        nonce = int.from_bytes(self._expand(b"iv", 12), "big") ^ self.sent
        self.sent += 1
        return header + AESGCM(key).encrypt(nonce.to_bytes(12, "big"), inner, header)

    def _expand(self, label: bytes, length: int) -> bytes:
        """HKDF-Expand-Label with an empty context (7.1); one block is enough for each length there is."""
        name = b"tls13 " + label
        info = struct.pack(">HB", length, len(name)) + name + b"\0"
        return hmac.new(self.secret, info + b"\1", _HASHES[self.cipher][0]).digest()[:length]
