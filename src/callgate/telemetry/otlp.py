"""OTLP over HTTP: where telemetry goes, and how.

The standard environment variables hold; an address in the configuration file goes before an address in the environment.
What is set there and cannot be done is an error when the gate starts (`CannotExport`), because a setting that is
quietly left out is found out about on the day the traces are needed.
"""

import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from opentelemetry.sdk.resources import Resource

from callgate.errors import GatewayError

# Retries included.  A collector that restarts comes back within this, and the queue holds what arrives meanwhile.
EXPORT_TIMEOUT_S = 5.0
# A value below is meant as seconds; the specification's unit is the millisecond.
_TIMEOUT_MIN_MS, _TIMEOUT_MAX_MS = 100, 60_000

# RFC 9110, section 5.6.2 and 5.5: a field name is a token, a value has no control characters.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OURS = frozenset({"connection", "content-encoding", "content-length", "content-type", "host", "transfer-encoding"})


class CannotExport(GatewayError):  # noqa: N818  # says what cannot be done
    """What the environment asks of the exporter cannot be done.

    The message names the variable, and its value only where that is no credential.
    """


@dataclass(frozen=True, slots=True)
class Service:
    """Who sends: `service.name`, `service.version` and `service.instance.id` of the resource.

    `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` add to it; these three go before them.
    """

    name: str
    version: str
    instance_id: str

    def resource(self) -> Resource:
        """Reads the environment, once."""
        own = {"service.name": self.name, "service.version": self.version, "service.instance.id": self.instance_id}
        return Resource.create({name: value for name, value in own.items() if value})


@dataclass(frozen=True, slots=True)
class Target:
    """One signal's way to the collector.

    `url`: as it is requested, with the signal's path.  `headers`: of every request; they may hold credentials.
    `timeout_s`: for one batch, retries included.  `ca_file`, `certificate_file`, `key_file`: "" where none is given;
    the trusted certificates are then the system's.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = EXPORT_TIMEOUT_S
    gzip: bool = False
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""

    @property
    def parts(self) -> SplitResult:
        """The URL, taken apart."""
        return urlsplit(self.url)

    def tls(self) -> ssl.SSLContext | None:
        """For https; reads the files, and raises CannotExport where one cannot be used."""
        if self.parts.scheme != "https":
            return None
        if self.key_file and not self.certificate_file:
            raise CannotExport("OTEL_EXPORTER_OTLP_CLIENT_KEY is of no use without _CLIENT_CERTIFICATE")
        try:
            context = ssl.create_default_context(cafile=self.ca_file or None)
            if self.certificate_file:
                context.load_cert_chain(self.certificate_file, self.key_file or None)
        except OSError as error:
            named = ", ".join(filter(None, (self.ca_file, self.certificate_file, self.key_file)))
            raise CannotExport(
                f"the certificates for {self.parts.hostname} cannot be used: {error} ({named})"
            ) from error
        return context


def target_of(url: str | None, signal: str) -> Target | None:
    """`url` is the collector's base, such as `http://127.0.0.1:4318`; `signal` is `traces`, `metrics` or `logs`.

    None: nothing is to be sent.  Reads the environment; raises CannotExport.
    """
    upper = signal.upper()
    if _env("OTEL_SDK_DISABLED").lower() == "true" or not _is_exported(upper):
        return None
    endpoint = _endpoint(url, signal)
    if endpoint is None:
        return None
    _one_of(upper, "PROTOCOL", ("http/protobuf",))
    if provider := _env(f"OTEL_PYTHON_EXPORTER_OTLP_HTTP_{upper}_CREDENTIAL_PROVIDER") or _env(
        "OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER"
    ):
        raise CannotExport(f"OTEL_PYTHON_EXPORTER_OTLP_HTTP_CREDENTIAL_PROVIDER={provider} is not supported")
    target = Target(
        endpoint,
        headers=_headers(upper),
        timeout_s=_timeout_s(upper),
        gzip=_one_of(upper, "COMPRESSION", ("gzip", "none")) == "gzip",
        ca_file=_setting(upper, "CERTIFICATE")[1],
        certificate_file=_setting(upper, "CLIENT_CERTIFICATE")[1],
        key_file=_setting(upper, "CLIENT_KEY")[1],
    )
    target.tls()
    return target


def milliseconds(name: str, default_s: float, bounds_ms: tuple[int, int]) -> float:
    """The environment variable `name` in seconds.

    "Any value that represents a duration MUST be an integer representing a number of milliseconds" (OpenTelemetry,
    environment variables).
    """
    text = _env(name)
    if not text:
        return default_s
    if not text.isdecimal() or not bounds_ms[0] <= int(text[:12]) <= bounds_ms[1]:
        raise CannotExport(f"{name}={text}: must be milliseconds, from {bounds_ms[0]} to {bounds_ms[1]}")
    return int(text) / 1000


def choice(name: str, allowed: tuple[str, ...]) -> str:
    """The environment variable `name`, in lower case: one of `allowed`, or "" where it is not set."""
    text = _env(name).lower()
    if text and text not in allowed:
        raise CannotExport(f"{name}={text} is not supported; it can be {' or '.join(allowed)}")
    return text


def _is_exported(upper: str) -> bool:
    return choice(f"OTEL_{upper}_EXPORTER", ("otlp", "none")) != "none"


def _endpoint(url: str | None, signal: str) -> str | None:
    # "For the per-signal variables, the URL MUST be used as-is"; from the other, "the URL for each signal is
    # constructed relative to it" (OTLP exporter specification).
    name = f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"
    if not url and (as_is := _env(name)):
        return _checked(as_is, name)
    base = url or _env("OTEL_EXPORTER_OTLP_ENDPOINT")
    return _checked(f"{base.rstrip('/')}/v1/{signal}", "OTEL_EXPORTER_OTLP_ENDPOINT") if base else None


def _checked(url: str, name: str) -> str:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and url.isascii()
    except ValueError:
        usable = False
    if not usable or re.search(r"[\x00-\x20\x7f]", url):
        raise CannotExport(f"{name} must be a URL such as http://127.0.0.1:4318")
    if urlsplit(url).username is not None:
        raise CannotExport(f"{name} must hold no user and password; they belong into OTEL_EXPORTER_OTLP_HEADERS")
    return url


def _headers(upper: str) -> dict[str, str]:
    """As in `key1=value1,key2=value2`: W3C Baggage without properties, hence percent-encoded."""
    name, text = _setting(upper, "HEADERS")
    headers = {}
    for number, member in enumerate(filter(None, (part.strip() for part in text.split(","))), start=1):
        key, equals, value = (unquote(part.strip()) for part in member.partition("="))
        if not equals or _TOKEN.fullmatch(key) is None or _VALUE.fullmatch(value) is None:
            raise CannotExport(f"{name}: entry {number} is not name=value, percent-encoded")
        if key.lower() in _OURS:
            raise CannotExport(f"{name}: {key} is not for others to set")
        headers[key.lower()] = value
    return headers


def _timeout_s(upper: str) -> float:
    name, _ = _setting(upper, "TIMEOUT")
    return milliseconds(name, EXPORT_TIMEOUT_S, (_TIMEOUT_MIN_MS, _TIMEOUT_MAX_MS))


def _one_of(upper: str, suffix: str, allowed: tuple[str, ...]) -> str:
    return choice(_setting(upper, suffix)[0], allowed)


def _setting(upper: str, suffix: str) -> tuple[str, str]:
    """The variable of this signal where it is set, else the general one: its name and its value."""
    own = f"OTEL_EXPORTER_OTLP_{upper}_{suffix}"
    general = f"OTEL_EXPORTER_OTLP_{suffix}"
    return (own, _env(own)) if _env(own) else (general, _env(general))


def _env(name: str) -> str:
    return os.environ.get(name, "").strip()
