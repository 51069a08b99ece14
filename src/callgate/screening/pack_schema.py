"""The pack `schema-change`: SQL that changes what a database is made of, and the tools that carry out migrations."""

import re
from typing import Final

import re2  # type: ignore[import-untyped]  # ships no types

from callgate.screening.pack_declared import ShellText, SqlText, Unclear, shell_of, sql_of
from callgate.screening.pack_terms import UNCLEAR, UNDECLARED, Declared, Pack, rules_with, table_of
from callgate.wire.json_strict import JsonObject

SCHEMA_CHANGE: Final = Pack(
    "schema-change",
    1,
    "SQL that creates, changes or drops tables, views, indexes and the like, and migrations",
    rules_with(
        {
            "schema_change": "SQL that changes the schema: CREATE, ALTER, DROP, TRUNCATE, RENAME, COMMENT, SELECT … INTO",
            "hidden_sql": "SQL that runs other SQL which cannot be seen, or cannot be read itself",
            "migration_tool": "a program or tool that carries out migrations",
            "shell_sql": "a shell command that hands a client of a database SQL that changes the schema, or a file of SQL",
        },
        declared=True,
    ),
)

# Kinds of statements, and reasons, behind which any SQL may stand.
_HIDING: Final = table_of(
    "unparsable several_statements too_long too_deep unknown_dialect unknown_statement dynamic_sql prepare procedure block "
    "executable_comment client_command create_code control_character lookalike"
)
# By their manuals: the program, and the words of which one makes it change a schema.
_MIGRATES: Final = re2.compile(
    r"(?i)"
    r"\b(?:alembic|aerich)\b[^;|&\n]*\b(?:upgrade|downgrade|stamp)\b"
    r"|\bflyway\b[^;|&\n]*\b(?:migrate|clean|undo|baseline|repair)\b"
    r"|\bliquibase\b[^;|&\n]*\b(?:update\w*|rollback\w*|drop-?all|change-?log-?sync\w*)\b"
    r"|\b(?:dbmate|goose|migrate|sql-migrate|tern|geni|bytebase|pgroll|reshape|refinery|squitch|sqitch)\b[^;|&\n]*"
    r"\b(?:up|down|redo|reset|drop|force|goto|deploy|revert|rebase|rollback|migrate|start|complete)\b"
    r"|\bprisma\b[^;|&\n]*\b(?:migrate|db\s+(?:push|execute))\b|\bdrizzle-kit\b[^;|&\n]*\b(?:push|migrate|drop|up)\b"
    r"|\bknex\b[^;|&\n]*\bmigrate:|\bsequelize(?:-cli)?\b[^;|&\n]*\bdb:(?:migrate|drop|create)"
    r"|\btypeorm\b[^;|&\n]*\b(?:migration:(?:run|revert)|schema:(?:sync|drop))"
    r"|\b(?:rails|rake)\b[^;|&\n]*\bdb:(?:migrate|rollback|drop|create|reset|setup|schema:load|structure:load|prepare|seed:replant)"
    r"|\bmanage\.py\b[^;|&\n]*\b(?:migrate|flush|sqlflush)\b|\bdjango-admin\b[^;|&\n]*\bmigrate\b"
    r"|\bflask\b[^;|&\n]*\bdb\s+(?:upgrade|downgrade|stamp)\b"
    r"|\bartisan\b[^;|&\n]*\b(?:migrate|db:wipe)|\bdoctrine\b[^;|&\n]*\b(?:migrations:migrate|schema:(?:update|drop))|\bphinx\b[^;|&\n]*\b(?:migrate|rollback)\b"
    r"|\bdotnet[ -]ef\b[^;|&\n]*\bdatabase\s+(?:update|drop)\b|\bupdate-database\b"
    r"|\b(?:diesel|sqlx)\b[^;|&\n]*\b(?:migration|database|setup|migrate)\b[^;|&\n]*\b(?:run|revert|redo|reset|drop|setup)\b"
    r"|\bmix\b[^;|&\n]*\becto\.(?:migrate|rollback|drop|create|reset|setup|load)\b"
    r"|\batlas\b[^;|&\n]*\b(?:schema\s+(?:apply|clean)|migrate\s+(?:apply|down|set))\b|\bskeema\b[^;|&\n]*\bpush\b"
    r"|\b(?:gh-ost|pt-online-schema-change|lhm|spirit|mysqldbcompare)\b|\bsupabase\b[^;|&\n]*\b(?:db\s+(?:push|reset)|migration\s+up)\b"
    r"|\bhasura\b[^;|&\n]*\bmigrate\s+apply\b|\bsqldef\b|\b(?:psqldef|mysqldef|sqlite3def|mssqldef)\b|\bwrangler\b[^;|&\n]*\bd1\s+migrations\s+apply\b",
)  # fmt: skip
_CLIENTS: Final = table_of(
    "psql pgcli mysql mariadb mycli sqlite3 litecli duckdb sqlcmd mssql-cli bcp sqlplus sql snowsql bq clickhouse-client "
    "clickhouse clickhouse-local trino presto beeline hive spark-sql cqlsh isql usql db2 cockroach createdb dropdb pg_restore "
    "mysqladmin vsql"
)
_ALWAYS: Final = frozenset({"createdb", "dropdb", "pg_restore"})
_DDL: Final = re2.compile(
    r"(?i)\b(?:create|alter|drop|truncate|rename|reindex|comment\s+on|undrop)\b|\.(?:read|import|restore)\b"
    r"|\binto\b\s+\w+\s+from\b|\s(?:-f|--file|-i|source)[\s=]|<[^<]|\|\s*\S*$"
)
_TOOL: Final = re.compile(
    r"(?:^|[_.-])(?:apply|run|execute|deploy|push|rollback|revert)[_.-](?:\w+[_.-])?migrations?(?:$|[_.-])"
    r"|^(?:db[_.-])?migrate(?:[_.-](?:db|database|schema|up|down))?$|(?:^|[_.-])(?:create|alter|drop|rename|truncate)[_.-](?:table|index|view|schema|column|database)s?$",
    re.IGNORECASE,
)
_CAMEL: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def look_for_schema_change(tool: str, arguments: JsonObject, declared: Declared) -> set[str]:
    """The rules of schema-change that the call breaks."""
    broken = {"migration_tool"} if _TOOL.search(_CAMEL.sub("_", tool[:128])) else set()
    if not declared.sql and not declared.shell:
        return broken | {UNDECLARED}
    for sql in sql_of(arguments, declared):
        broken |= {UNCLEAR} if isinstance(sql, Unclear) else _of_sql(sql)
    for shell in shell_of(arguments, declared):
        broken |= {UNCLEAR} if isinstance(shell, Unclear) else _of_shell(shell)
    return broken


def _of_sql(sql: SqlText) -> set[str]:
    hides = _HIDING.intersection((*sql.reading.why, *sql.reading.statements))
    changes = {"schema_change"} if sql.reading.schema_change else set()
    return changes | ({"hidden_sql"} if hides else set())


def _of_shell(shell: ShellText) -> set[str]:
    broken = {"migration_tool"} if _MIGRATES.search(shell.text) else set()
    commands = set(shell.reading.commands)
    if commands & _ALWAYS or (commands & _CLIENTS and _DDL.search(shell.text)):
        broken.add("shell_sql")
    if not commands or _HIDING.intersection(shell.reading.why):
        broken.add(UNCLEAR)
    return broken
