"""Where in MCP's messages what stands: its own members and words, schemas, base64, and what is the server's own.

Read in the schemas of 2025-11-25 and 2026-07-28.  A member means the same wherever the protocol has it, so that one
table by names holds for all messages; what is not in it is the server's own.
"""

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Final

from callgate.wire.json_strict import JsonObject, JsonValue
from callgate.wire.methods import HANDSHAKE_REVISIONS, METHODS, MODERN_REVISION


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


class Kind(Enum):
    """What an object or list is."""

    # Whose members the protocol names, and a list or a map of these.
    PROTOCOL = "protocol"
    MAP = "map"
    # A tool's definition; its name is what it is called by.
    TOOL = "tool"
    # The server's own: `structuredContent` and everything else.
    ROOT = "root"
    FREE = "free"
    # JSON Schema, and an object whose members' values are schemas and whose names are anybody's.
    SCHEMA = "schema"
    SCHEMAS = "schemas"


_OBJECTS: Final = _words(
    "annotations argument arguments capabilities clientInfo completion completions content contents context"
    " elicitation elicitations error execution hints icons logging messages modelPreferences notifications params"
    " prompts ref requests requiredCapabilities resource resourceTemplates resources result roots sampling serverInfo"
    " task tasks toolChoice"
)
_SCALARS: Final = _words(
    "blob cacheScope code costPriority createdAt cursor description destructiveHint elicitationId hasMore id"
    " idempotentHint includeContext instructions intelligencePriority isError jsonrpc lastModified lastUpdatedAt level"
    " listChanged logger maxTokens message method mimeType mode model name nextCursor openWorldHint pollInterval"
    " priority progress progressToken promptsListChanged protocolVersion readOnlyHint reason requestId requestState"
    " required resultType role size speedPriority src status statusMessage stopReason subscribe systemPrompt taskId"
    " taskSupport temperature text theme title toolUseId toolsListChanged total ttl ttlMs type uri uriTemplate url"
    " version websiteUrl audience sizes stopSequences supported supportedVersions requested resourceSubscriptions"
    " resourcesListChanged values value"
)
_OPEN: Final = _words("_meta data experimental extensions input metadata")

# In the hot loop: to look a member of an enumeration up takes longer than what is done with it.
_PROTOCOL: Final = Kind.PROTOCOL
_TOOL: Final = Kind.TOOL
_ROOT: Final = Kind.ROOT
_FREE: Final = Kind.FREE
# Where pointers begin.
ROOT: Final = "structuredContent"
_INNER: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        **dict.fromkeys(_OBJECTS, Kind.PROTOCOL),
        **dict.fromkeys(_OPEN, Kind.FREE),
        **dict.fromkeys(("inputSchema", "outputSchema", "requestedSchema"), Kind.SCHEMA),
        "inputRequests": Kind.MAP,
        "tools": Kind.TOOL,
        ROOT: Kind.ROOT,
    }
)
# JSON Schema 2020-12, core and validation, and what older drafts had.
_SUBSCHEMAS: Final = _words(
    "additionalItems additionalProperties allOf anyOf contains contentSchema else if items not oneOf prefixItems"
    " propertyNames then unevaluatedItems unevaluatedProperties"
)
_SCHEMA_MAPS: Final = _words("$defs definitions dependentSchemas patternProperties properties")
# Where a schema holds values of what it describes.
SCHEMA_VALUES: Final = frozenset({"const", "default", "enum", "enumNames", "example", "examples"})
# JSON Schema 2020-12, validation, 6.1.1.
_JSON_TYPES: Final = _words("array boolean integer null number object string")
_SCHEMA_WORDS: Final = (
    _SUBSCHEMAS
    | _SCHEMA_MAPS
    | SCHEMA_VALUES
    | _words(
        "$anchor $comment $dynamicAnchor $dynamicRef $id $ref $schema $vocabulary contentEncoding contentMediaType"
        " dependentRequired dependencies deprecated description exclusiveMaximum exclusiveMinimum format maxContains"
        " maxItems maxLength maxProperties maximum minContains minItems minLength minProperties minimum multipleOf"
        " pattern readOnly required title type uniqueItems writeOnly"
    )
)
PROTOCOL_MEMBERS: Final = frozenset((*_INNER, *_SCALARS))
# Names that are the same in everybody's messages: never renamed, and nothing to be found in.
KNOWN_NAMES: Final = PROTOCOL_MEMBERS | _SCHEMA_WORDS
# An object of the protocol's cannot be without these: where nothing is left of one, "" or 0 stands in its place.
REQUIRED_MEMBERS: Final = _words(
    "blob code data level message method mimeType mode name progress protocolVersion role src status taskId text type"
    " uri uriTemplate url version createdAt lastUpdatedAt requestId toolUseId elicitationId resultType"
)
# The words of MCP's enumerations, by the member whose value they are.
LEGAL_VALUES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "type": _words("text image audio resource resource_link tool_use tool_result ref/prompt ref/resource"),
        "role": frozenset({"user", "assistant"}),
        "audience": frozenset({"user", "assistant"}),
        "level": _words("debug info notice warning error critical alert emergency"),
        "resultType": frozenset({"complete", "input_required", "task"}),
        "cacheScope": frozenset({"public", "private"}),
        "mode": frozenset({"form", "url", "auto", "required", "none"}),
        "includeContext": frozenset({"none", "thisServer", "allServers"}),
        "stopReason": frozenset({"endTurn", "stopSequence", "maxTokens", "toolUse"}),
        "status": frozenset({"working", "input_required", "completed", "failed", "cancelled"}),
        "taskSupport": frozenset({"forbidden", "optional", "required"}),
        "theme": frozenset({"light", "dark"}),
        "jsonrpc": frozenset({"2.0"}),
        "protocolVersion": HANDSHAKE_REVISIONS | {MODERN_REVISION},
        "supportedVersions": HANDSHAKE_REVISIONS | {MODERN_REVISION},
        "supported": HANDSHAKE_REVISIONS | {MODERN_REVISION},
        "method": frozenset(METHODS) | {"sampling/createMessage", "elicitation/create", "roots/list"},
    }
)
LEGAL_NAMES: Final = frozenset(LEGAL_VALUES)
# What a server says of its own accord (2025-11-25 and 2026-07-28, ServerNotification and ServerRequest).
SERVER_METHODS: Final = LEGAL_VALUES["method"] | frozenset(
    f"notifications/{each}"
    for each in _words(
        "progress message cancelled resources/updated resources/list_changed tools/list_changed prompts/list_changed"
        " subscriptions/acknowledged elicitation/complete tasks tasks/status"
    )
)


def kind_within(kind: Kind, name: str) -> Kind:
    """What the value of a member is, where it is an object or a list."""
    if kind is _PROTOCOL or kind is _TOOL:
        return _INNER.get(name, _FREE)
    if kind is _FREE or kind is _ROOT:
        return _FREE
    if kind is Kind.MAP:
        return _PROTOCOL
    if kind is Kind.SCHEMA and name in _SCHEMA_MAPS:
        return Kind.SCHEMAS
    return Kind.SCHEMA if kind is Kind.SCHEMAS or name in _SUBSCHEMAS else _FREE


def kind_of_entry(kind: Kind) -> Kind:
    """What an entry of a list is."""
    return _FREE if kind is _ROOT else kind


def is_own_member(kind: Kind, name: str) -> bool:
    """Whether a member is the server's own, so that rules about names of members are about it."""
    if is_of_protocol(kind):
        return name not in PROTOCOL_MEMBERS
    return name not in _SCHEMA_WORDS if kind is Kind.SCHEMA else kind is not Kind.MAP


def is_of_protocol(kind: Kind) -> bool:
    """Whether the protocol names the members of such an object."""
    return kind is _PROTOCOL or kind is _TOOL


def is_legal(kind: Kind, name: str, value: JsonValue) -> bool:
    """Whether a value, or each entry of a list, is one of the protocol's own words, in its place."""
    if is_of_protocol(kind):
        legal = LEGAL_VALUES.get(name)
    else:
        legal = _JSON_TYPES if kind is Kind.SCHEMA and name == "type" else None
    if legal is None:
        return False
    listed = value if isinstance(value, list) else [value]
    return all(isinstance(each, str) and each in legal for each in listed)


def is_base64(members: JsonObject, kind: Kind, name: str) -> bool:
    """Whether a text is base64: the `data` of an image or a sound, the `blob` of a resource's contents."""
    if name not in {"data", "blob"} or not is_of_protocol(kind):
        return False
    return name == "blob" or members.get("type") in ("image", "audio")
