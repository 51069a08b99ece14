"""What a value of callgate.yaml looks like: addresses, URLs, names, counts; each with the form that the schema shows.

Pure.
"""

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field, GetCoreSchemaHandler, GetPydanticSchema, WithJsonSchema
from pydantic_core import CoreSchema, core_schema

from callgate.addresses import Address, Url, check_authority, parse_address
from callgate.identity.endpoint import InvalidEndpoint, parse_endpoint
from callgate.identity.spiffe_id import InvalidSpiffeId, SpiffeId
from callgate.users.discovery import check_key_url
from callgate.users.key_set import KEY_KINDS
from callgate.yaml_model import StrictModel, text_form

# More than an organisation has teams that each write a part; all of them are looked at ten times a second.
MAX_POLICY_FILES: Final = 100
# PATH_MAX of Linux.
MAX_PATH_CHARACTERS: Final = 4_096

# RFC 8707, section 2: "an absolute URI [...] MUST NOT include a fragment component".
_USER_AUDIENCE: Final = re.compile(r"[!-~]{1,1000}")
_AUDIENCE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-\"$-~]{1,2000}")


def _address(value: object) -> Address:
    if not isinstance(value, str):
        raise ValueError("must be an address and a port, as in 0.0.0.0:8443 or '[::]:8443'")  # noqa: TRY004  # pydantic's
    return parse_address(value)


def _check_url(text: str) -> Url:
    url = Url.parse(text)
    if url.scheme == "http" and not url.is_loopback:
        raise ValueError("must start with https://; http is for this machine alone (127.0.0.1, [::1], localhost)")
    return url


def _check_issuer(text: str) -> str:
    # RFC 8414, section 2: "using the https scheme with no query or fragment components"; section 3 puts the metadata
    # of an issuer with a path elsewhere than where it is served here.
    if _check_url(text).path:
        raise ValueError("must end with its host or port: no path, no '/' at the end")
    return text


def _check_server_url(text: str) -> str:
    return _check_url(text).text


def _check_origin(text: str) -> str:
    # RFC 6454, section 6.2: scheme "://" host [ ":" port ], the port only where it is not the scheme's own.
    url = Url.parse(text)
    if text != f"{url.scheme}://{url.authority}":
        raise ValueError(f"must be an origin as browsers send it, such as {url.scheme}://{url.authority}")
    return text


def _check_collector(text: str) -> str:
    return Url.parse(text).text


def _check_workload_api(text: str) -> str:
    try:
        return parse_endpoint(text).address
    except InvalidEndpoint as error:
        raise ValueError(f"cannot be used: {error}") from error


def _check_audience(text: str) -> str:
    if _AUDIENCE.fullmatch(text) is None:
        raise ValueError("must be an absolute URI without a fragment (RFC 8707)")
    return text


def _check_user_audience(text: str) -> str:
    if _USER_AUDIENCE.fullmatch(text) is None:
        raise ValueError("must be 1 to 1000 printable ASCII characters without spaces")
    return text


def _check_algorithm(text: str) -> str:
    if text not in KEY_KINDS:
        raise ValueError(f"must be one of {', '.join(KEY_KINDS)}")
    return text


def _spiffe_id(value: object) -> SpiffeId:
    try:
        found = SpiffeId.parse(value if isinstance(value, str) else "")
    except InvalidSpiffeId as error:
        raise ValueError("must be a SPIFFE ID, such as spiffe://acme.test/tools/ledger") from error
    if not found.path:
        raise ValueError("must be a workload's SPIFFE ID; this one names a whole trust domain")
    return found


def policy_paths(value: object) -> tuple[str, ...]:
    """One path or a list of them.  Raises ValueError."""
    paths = value if isinstance(value, list) else [value]
    texts = tuple(path for path in paths if isinstance(path, str))
    if len(texts) != len(paths) or len(paths) > MAX_POLICY_FILES:
        raise ValueError(f"must be a path, or a list of no more than {MAX_POLICY_FILES} paths")
    if not paths or not all(texts):
        raise ValueError("must not be empty")
    if any(len(text) > MAX_PATH_CHARACTERS for text in texts):
        raise ValueError(f"has a path of more than {MAX_PATH_CHARACTERS} characters")
    return texts


# One text or a list of texts in the file; always a tuple in Python.
PolicyPaths = Annotated[tuple[str, ...], BeforeValidator(policy_paths, json_schema_input_type=str | list[str])]
_HOST_FORM: Final = r"(?:\[[0-9a-f:.]+\]|[a-z0-9.-]+)"
_URL_FORM: Final = text_form("https?://[^/?#@ ]+(?:/[^?# ]*)?", "https://ledger.acme.test/mcp")
_ORIGIN_FORM: Final = text_form("https?://[^/?#@ ]+", "https://gate.acme.test")

ListenAddress = Annotated[
    Address, BeforeValidator(_address), text_form(f"{_HOST_FORM}:[0-9]{{1,5}}", "0.0.0.0:8443", "[::]:8443")
]
ServerUrl = Annotated[str, AfterValidator(_check_server_url), _URL_FORM]
KeyUrl = Annotated[str, AfterValidator(check_key_url), text_form("https?://[^/?#@ ]+(?:[/?][^# ]*)?")]
Issuer = Annotated[str, AfterValidator(_check_issuer), _ORIGIN_FORM]
Origin = Annotated[str, AfterValidator(_check_origin), _ORIGIN_FORM]
Collector = Annotated[str, AfterValidator(_check_collector), text_form("https?://[^/?#@ ]+(?:/[^?# ]*)?")]
# OpenID Connect, section 2: `aud` is a case-sensitive string, or several; some providers write a bare identifier there.
UserAudience = Annotated[
    str, AfterValidator(_check_user_audience), text_form(_USER_AUDIENCE.pattern, "https://gate.acme.test")
]
Audience = Annotated[str, AfterValidator(_check_audience), text_form(_AUDIENCE.pattern, "https://ledger.acme.test/mcp")]
Authority = Annotated[
    str, AfterValidator(check_authority), text_form(f"{_HOST_FORM}(?::[0-9]{{1,5}})?", "gate.acme.test:8443")
]
WorkloadApi = Annotated[
    str,
    AfterValidator(_check_workload_api),
    text_form("unix:(?://)?/.+|tcp://.+:[0-9]{1,5}", "unix:///run/spire/agent.sock"),
]
ServerIdentity = Annotated[
    SpiffeId | None,
    BeforeValidator(_spiffe_id),
    text_form(r"spiffe://[a-z0-9._-]{1,255}(?:/[A-Za-z0-9._-]+)+", "spiffe://acme.test/tools/ledger"),
]
Algorithm = Annotated[
    str, AfterValidator(_check_algorithm), WithJsonSchema({"type": "string", "enum": list(KEY_KINDS)})
]
Text = Annotated[str, Field(min_length=1, max_length=MAX_PATH_CHARACTERS)]


class CertificateFiles(StrictModel):
    """A certificate chain and its private key, PEM: of an authority that browsers trust."""

    certificate: Text = Field(description="The certificate and those above it, PEM.")
    key: Text = Field(description="Its private key, PEM.")


def _tls(value: object, files: core_schema.ValidatorFunctionWrapHandler) -> object:
    if isinstance(value, str) and value not in {"svid", "off"}:
        raise ValueError(
            "must be svid, off, or the files of a certificate: {certificate: admin.pem, key: admin-key.pem}"
        )
    return value if isinstance(value, str) else files(value)


def _tls_schema(source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401  # pydantic's
    # Not as a union: what is wrong with the files is told where it stands, and not once for each alternative.
    return core_schema.no_info_wrap_validator_function(
        _tls, handler(CertificateFiles), json_schema_input_schema=handler(source)
    )


AdminTls = Annotated[Literal["svid", "off"] | CertificateFiles, GetPydanticSchema(_tls_schema)]
ClaimName = Annotated[str, Field(min_length=1, max_length=256)]
Bytes = Annotated[int, Field(ge=1024, le=1024**3)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
LimitSeconds = Annotated[float, Field(gt=0, le=7 * 24 * 3600, allow_inf_nan=False)]
ListScopes = Literal["minimal", "granted"]
