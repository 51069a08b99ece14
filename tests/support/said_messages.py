"""Messages with something in every place that MCP has, in both revisions, and ways to put other things there."""

import json
from collections.abc import Iterator
from typing import TypeAlias

from callgate.wire.json_strict import JsonObject, JsonValue
from callgate.wire.jsonrpc import RpcFailure, RpcNotification, RpcRequest, RpcResult, ServerMessage

Path: TypeAlias = tuple[str | int, ...]

_ANNOTATIONS: JsonObject = {"audience": ["user", "assistant"], "priority": 0.5, "lastModified": "2025-01-12T15:00:58Z"}
_ICONS: list[JsonValue] = [
    {"src": "https://icons.test/a.png", "mimeType": "image/png", "sizes": ["48x48"], "theme": "light"}
]
_META: JsonObject = {"test.example/note": "a note", "depth": 3, "inner": {"list": ["a", 1, True, None]}}
_BLOCKS: list[JsonValue] = [
    {"type": "text", "text": "plain words", "annotations": _ANNOTATIONS, "_meta": _META},
    {"type": "image", "data": "AAEC/w==", "mimeType": "image/png"},
    {"type": "audio", "data": "AAEC/w==", "mimeType": "audio/wav"},
    {
        "type": "resource_link",
        "uri": "file:///a",
        "name": "a.txt",
        "title": "A file",
        "description": "words",
        "mimeType": "text/plain",
        "size": 12,
        "icons": _ICONS,
    },
    {"type": "resource", "resource": {"uri": "file:///b", "mimeType": "text/plain", "text": "words", "_meta": _META}},
    {"type": "resource", "resource": {"uri": "file:///c", "mimeType": "application/pdf", "blob": "AAEC/w=="}},
]
_SCHEMA: JsonObject = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "title": "Arguments",
    "properties": {
        "city": {
            "type": "string",
            "description": "where",
            "enum": ["Oslo", "Rome"],
            "default": "Oslo",
            "pattern": "^[A-Z]",
        },
        "days": {"type": "integer", "minimum": 1, "maximum": 14, "examples": [3]},
    },
    "required": ["city"],
    "additionalProperties": False,
    "$defs": {"place": {"const": "x", "$comment": "of no use"}},
}
_TOOL: JsonObject = {
    "name": "forecast",
    "title": "Forecast",
    "description": "Says what the weather will be.",
    "inputSchema": _SCHEMA,
    "outputSchema": _SCHEMA,
    "annotations": {"title": "Weather", "readOnlyHint": True},
    "execution": {"taskSupport": "optional"},
    "icons": _ICONS,
    "_meta": _META,
}
_SERVER: JsonObject = {
    "name": "weather",
    "title": "Weather",
    "version": "1.2.3",
    "description": "words",
    "websiteUrl": "https://weather.test/",
    "icons": _ICONS,
}
_CAPABILITIES: JsonObject = {"tools": {"listChanged": True}, "logging": {}, "experimental": {"x.test/y": {"level": 2}}}
_CACHED: JsonObject = {"resultType": "complete", "ttlMs": 1000, "cacheScope": "private", "_meta": _META}
_FREE: JsonObject = {"city": "Oslo", "rows": [{"n": 1, "f": 1.5, "s": "words"}, ["a", 2]], "ok": True, "none": None}
_TASK: JsonObject = {
    "taskId": "t-1",
    "status": "working",
    "statusMessage": "at work",
    "createdAt": "2025-11-25T10:30:00Z",
    "lastUpdatedAt": "2025-11-25T10:40:00Z",
    "ttl": 60000,
    "pollInterval": 5000,
}
_SAMPLING: JsonObject = {
    "messages": [
        {"role": "user", "content": {"type": "text", "text": "words"}},
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "u1", "name": "forecast", "input": {"city": "Oslo"}},
                {
                    "type": "tool_result",
                    "toolUseId": "u1",
                    "content": _BLOCKS,
                    "structuredContent": _FREE,
                    "isError": False,
                },
            ],
        },
    ],
    "modelPreferences": {"hints": [{"name": "small"}], "costPriority": 0.3},
    "systemPrompt": "Be brief.",
    "includeContext": "none",
    "temperature": 0.2,
    "maxTokens": 100,
    "stopSequences": ["END"],
    "metadata": {"x": "y"},
    "tools": [_TOOL],
    "toolChoice": {"mode": "auto"},
}
_FORM: JsonObject = {"mode": "form", "message": "Which city?", "requestedSchema": _SCHEMA}

RESULTS: dict[str, JsonObject] = {
    "tools/call": {
        "content": _BLOCKS,
        "structuredContent": _FREE,
        "isError": False,
        "resultType": "complete",
        "_meta": _META,
    },
    "tools/list": {"tools": [_TOOL], "nextCursor": "page-2", **_CACHED},
    "initialize": {
        "protocolVersion": "2025-11-25",
        "capabilities": _CAPABILITIES,
        "serverInfo": _SERVER,
        "instructions": "Ask for the city first.",
        "_meta": _META,
    },
    "server/discover": {
        "supportedVersions": ["2026-07-28"],
        "capabilities": _CAPABILITIES,
        "serverInfo": _SERVER,
        "instructions": "Ask for the city first.",
        **_CACHED,
    },
    "prompts/list": {
        "prompts": [
            {
                "name": "p",
                "title": "P",
                "description": "words",
                "arguments": [{"name": "a", "description": "b"}],
                "icons": _ICONS,
            }
        ],
        **_CACHED,
    },
    "prompts/get": {"description": "words", "messages": [{"role": "user", "content": block} for block in _BLOCKS]},
    "resources/list": {
        "resources": [{"uri": "file:///a", "name": "a", "size": 3, "annotations": _ANNOTATIONS}],
        **_CACHED,
    },
    "resources/templates/list": {"resourceTemplates": [{"uriTemplate": "file:///{x}", "name": "t", "title": "T"}]},
    "resources/read": {
        "contents": [
            {"uri": "file:///a", "mimeType": "text/plain", "text": "words"},
            {"uri": "file:///b", "mimeType": "image/png", "blob": "AAEC/w=="},
        ]
    },
    "completion/complete": {"completion": {"values": ["Oslo"], "total": 1, "hasMore": False}},
    "tasks/get": _TASK,
    "input_required": {
        "resultType": "input_required",
        "inputRequests": {
            "a": {"method": "elicitation/create", "params": _FORM},
            "b": {"method": "sampling/createMessage", "params": _SAMPLING},
        },
        "requestState": "opaque",
    },
}
PARAMS: dict[str, JsonObject] = {
    "notifications/progress": {"progressToken": "t", "progress": 1, "total": 2.5, "message": "at work", "_meta": _META},
    "notifications/message": {
        "level": "info",
        "logger": "db",
        "data": {"text": "words", "n": 1, "more": ["a"]},
        "_meta": _META,
    },
    "notifications/cancelled": {"requestId": "q-1", "reason": "no time"},
    "notifications/resources/updated": {"uri": "file:///a"},
    "notifications/elicitation/complete": {"elicitationId": "e-1"},
    "notifications/tasks/status": _TASK,
    "sampling/createMessage": _SAMPLING,
    "elicitation/create": _FORM,
    "x/unknown": {"free": _FREE},
}
ERROR: JsonObject = {"message": "No such city", "data": {"city": "Oslo", "codes": [1, "a"], "detail": "words"}}


def apart(value: JsonObject) -> JsonObject:
    """A copy in which nothing is the same object twice, as in what was read."""
    copied: JsonObject = json.loads(json.dumps(value))
    return copied


def all_messages() -> Iterator[tuple[str, ServerMessage]]:
    """Each with the method that it answers."""
    for method, result in RESULTS.items():
        yield method, RpcResult(1, apart(result))
    for method, params in PARAMS.items():
        is_call = not method.startswith("notifications/")
        called = apart(params)
        yield "tools/call", RpcRequest("r", method, called) if is_call else RpcNotification(method, called)
    yield "tools/call", RpcFailure(1, -32602, "No such city", apart(ERROR)["data"])
    yield "tools/call", RpcFailure(None, -32000, "No such city", "words")


def body_of(said: ServerMessage) -> JsonObject:
    """All of a message that a value can be put into."""
    match said:
        case RpcResult(_, result):
            return result
        case RpcFailure(_, _, message, content):
            return {"message": message, "data": content}
        case RpcNotification(_, params) | RpcRequest(_, _, params):
            return params


def with_body(said: ServerMessage, body: JsonObject) -> ServerMessage:
    """The same message with another body."""
    match said:
        case RpcResult(rpc_id, _):
            return RpcResult(rpc_id, body)
        case RpcFailure(rpc_id, code, _, _):
            return RpcFailure(rpc_id, code, str(body["message"]), body["data"])
        case RpcNotification(method, _):
            return RpcNotification(method, body)
        case RpcRequest(rpc_id, method, _):
            return RpcRequest(rpc_id, method, body)


def places(value: JsonValue, path: Path = ()) -> Iterator[Path]:
    """Where texts and numbers stand."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from places(each, (*path, name))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from places(each, (*path, index))
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield path


def objects(value: JsonValue, path: Path = ()) -> Iterator[Path]:
    """Where objects stand."""
    if isinstance(value, dict):
        yield path
        for name, each in value.items():
            yield from objects(each, (*path, name))
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from objects(each, (*path, index))


def at(value: JsonValue, path: Path) -> JsonValue:
    """What stands there."""
    for step in path:
        value = value[step]  # type: ignore[index]
    return value


def planted(value: JsonObject, path: Path, planted_value: JsonValue) -> JsonObject:
    """A copy with another value there."""
    grown = apart(value)
    holder = at(grown, path[:-1])
    holder[path[-1]] = planted_value  # type: ignore[index]
    return grown
