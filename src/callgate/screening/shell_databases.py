"""Clients of databases: the statement that they are handed is read as SQL."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from callgate.screening.shell_options import Given, Options, options_of, read_options
from callgate.screening.shell_state import State, is_exact
from callgate.screening.shell_wrappers import note_options
from callgate.screening.sql import read_sql

# Longer statements are dumps and programs; reading one as SQL costs more than reading the whole command.
MAX_STATEMENT_CHARACTERS: Final = 4_096

_PSQL: Final = options_of(
    "c: command: f:=unknown_script file:=unknown_script h:=network host:=network p: port: U: username: d: dbname: o:=write_to output:=write_to "
    "L:=write_to log-file:=write_to v: set: variable: P: pset: F: R: T: l list A a b e E n N q s S t w W x X z 0 1 no-psqlrc version V csv H"
)
_MYSQL: Final = options_of(
    "e: execute: h:=network host:=network P: port: u: user: p? password? D: database: S: socket: tee:=write_to init-command:=sql "
    "defaults-file:=unknown_script defaults-extra-file:=unknown_script plugin-dir:=planted_code pager?=planted_code N B s t v E X H r A b f i version V"
)
_SQLITE: Final = options_of(
    "init:=unknown_script cmd: readonly separator: nullvalue: newline: vfs: csv json column header noheader line list html markdown table box quote ascii bail batch echo interactive safe version stats A"
)
_DUCKDB: Final = options_of(
    "init:=unknown_script cmd: c: s: f:=unknown_script readonly separator: csv json column header noheader line list markdown box bail batch echo version unsigned=planted_code"
)
_CLICKHOUSE: Final = options_of(
    "q: query: h:=network host:=network port: u: user: password: d: database: f: format: queries-file:=unknown_script C:=unknown_script config-file:=unknown_script multiquery n t time"
)
_SQLCMD: Final = options_of("Q: q: S:=network U: P: d: i:=unknown_script o:=write_to h: s: W b E N C l: t:")
_CQLSH: Final = options_of("e: execute: f:=unknown_script file:=unknown_script u: p: k: keyspace:")
_TRINO: Final = options_of(
    "execute: server:=network catalog: schema: user: f:=unknown_script file:=unknown_script output-format:"
)
_SNOWSQL: Final = options_of("q: query: a:=network u: d: s: w: r: f:=unknown_script o:")

# By client: its options, those that hold statements, and the dialect.  A statement may also be the operand named by a
# place, counted from 0, or the input.
_CLIENTS: Final[Mapping[str, tuple[Options, tuple[str, ...], str, int]]] = MappingProxyType(
    {
        "psql": (_PSQL, ("c", "command"), "postgres", -1),
        "pgcli": (_PSQL, ("c", "command"), "postgres", -1),
        "mysql": (_MYSQL, ("e", "execute"), "mysql", -1),
        "mariadb": (_MYSQL, ("e", "execute"), "mysql", -1),
        "sqlite3": (_SQLITE, ("cmd",), "sqlite", 1),
        "duckdb": (_DUCKDB, ("cmd", "c", "s"), "duckdb", 1),
        "clickhouse-client": (_CLICKHOUSE, ("q", "query"), "clickhouse", -1),
        "sqlcmd": (_SQLCMD, ("Q", "q"), "tsql", -1),
        "cqlsh": (_CQLSH, ("e", "execute"), "ansi", -1),
        "trino": (_TRINO, ("execute",), "trino", -1),
        "snowsql": (_SNOWSQL, ("q", "query"), "snowflake", -1),
    }
)
# A host in a connection string (PostgreSQL 18, 32.1.1.1); a path there is a socket.
_HOSTED: Final = re.compile(r"(?:^|[ ;])(?:host|hostaddr|server)[ ]*=[ ]*'?[^/ ']", re.IGNORECASE)
# What only tells, of sqlite3's and psql's own commands.
_TELLS: Final = (
    ".schema",
    ".tables",
    ".indexes",
    ".databases",
    ".dbinfo",
    ".version",
    ".help",
    ".mode",
    ".headers",
    "\\d",
    "\\l",
    "\\x",
    "\\conninfo",
    "\\timing",
    "\\q",
    "\\h",
    "\\?",
)
_REDIS_READS: Final = frozenset(
    [
        "get",
        "mget",
        "strlen",
        "exists",
        "ttl",
        "pttl",
        "type",
        "scan",
        "keys",
        "dbsize",
        "info",
        "ping",
        "echo",
        "time",
        "hget",
        "hgetall",
        "hkeys",
        "hvals",
        "hlen",
        "hmget",
        "hexists",
        "hscan",
        "llen",
        "lrange",
        "lindex",
        "smembers",
        "sismember",
        "scard",
        "sscan",
        "srandmember",
        "zrange",
        "zrangebyscore",
        "zrevrange",
        "zscore",
        "zcard",
        "zcount",
        "zrank",
        "zscan",
        "getrange",
        "bitcount",
        "getbit",
        "object",
        "memory",
        "lastsave",
        "role",
        "command",
        "select",
        "auth",
        "hello",
        "xlen",
        "xrange",
        "xinfo",
        "xread",
        "pubsub",
        "geopos",
        "geodist",
        "pfcount",
        "dump",
        "randomkey",
        "touch",
        "lolwut",
        "wait",
        "readonly",
        "latency",
        "getex_",
        "expiretime",
    ]
)
_REDIS_WRITES: Final = frozenset(
    [
        "set",
        "setnx",
        "setex",
        "psetex",
        "mset",
        "append",
        "incr",
        "incrby",
        "decr",
        "decrby",
        "incrbyfloat",
        "hset",
        "hsetnx",
        "hmset",
        "hincrby",
        "lpush",
        "rpush",
        "lpushx",
        "rpushx",
        "lset",
        "linsert",
        "sadd",
        "zadd",
        "zincrby",
        "expire",
        "pexpire",
        "persist",
        "publish",
        "setrange",
        "getset",
        "geoadd",
        "pfadd",
        "xadd",
        "bitop",
        "setbit",
        "subscribe",
        "psubscribe",
        "multi",
        "exec",
        "watch",
    ]
)
_REDIS_TELLS: Final = {
    "config": "get",
    "client": "list",
    "slowlog": "get",
    "acl": "list",
    "cluster": "info",
    "script": "exists",
    "debug": "-",
    "memory": "usage",
}


def database(state: State, name: str, arguments: Sequence[str], given: str | None) -> None:
    """A client of the table: its statements are those of its options, its operand, or its input."""
    options, holders, dialect, place = _CLIENTS[name]
    read = read_options(options, arguments)
    note_options(state, read)
    places = [*read.operands, *read.values("d", "dbname")]
    if read.unsure or any("://" in place or _HOSTED.search(place) for place in places):
        state.note("network")
    statements = read.values(*holders) + (read.operands[place:] if place >= 0 else [])
    if not statements and not read.has("l", "list", "version", "V", "help"):
        statements = [given or ""]
    for statement in statements:
        note_statement(state, statement, dialect)


def note_statement(state: State, statement: str, dialect: str) -> None:
    """What a statement does that is handed to a database."""
    text = statement.strip()
    if not text or not is_exact(text):
        state.note("unresolved_code")
    elif len(text) > MAX_STATEMENT_CHARACTERS:
        state.note("sql")
    elif (
        text.startswith(_TELLS)
        and "\n" not in text
        and "|" not in text
        and ">" not in text
        and ";" not in text.rstrip(";")
    ):
        return
    elif text[0] in ".\\":
        state.note("sql")
    else:
        reading = read_sql(text, dialect)
        state.note(*(["sql"] if reading.destructive else []), *(["write"] if reading.writes else []))


def key_value(state: State, read: Given, given: str | None) -> None:
    """A command of Redis: read, write or anything else."""
    words = [word.lower() for word in read.operands]
    if not words:
        if not read.said or given is not None:
            state.note("sql")
    elif words[0] in _REDIS_TELLS:
        if words[1:2] != [_REDIS_TELLS[words[0]]]:
            state.note("sql")
    elif words[0] in {"expire", "pexpire"} and not words[2:3] > ["0"]:
        state.note("delete")  # at once
    elif words[0] in _REDIS_WRITES:
        state.note("write")
    elif words[0] not in _REDIS_READS:
        state.note("sql")


def documents(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`mongosh` and its kin run JavaScript; `influx` and others have a language of their own."""
    if any(word in {"--version", "--help"} for word in arguments):
        return
    state.note("interpreter_code")
