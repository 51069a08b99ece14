"""What is told about a SQL text: kinds, tables, functions, why; and what is remembered of it."""

import logging
from types import MappingProxyType

import pytest

from callgate.screening import sql
from callgate.screening.sql import DIALECTS, MAX_CHARACTERS, SQL_RULES, SqlReading, read_sql


def test_there_are_fourteen_dialects() -> None:
    assert set(DIALECTS) == {
        "ansi", "bigquery", "clickhouse", "databricks", "duckdb", "mysql", "oracle", "postgres", "redshift", "snowflake",
        "spark", "sqlite", "trino", "tsql",
    }  # fmt: skip


def test_a_query_tells_its_tables_and_functions() -> None:
    text = (
        "WITH due AS (SELECT * FROM billing.invoices) SELECT count(*), pg_catalog.lower(c.name) FROM due, customers c"
    )
    assert read_sql(text, "postgres") == SqlReading(
        statements=("select",),
        writes=False,
        destructive=False,
        schema_change=False,
        why=(),
        tables=("customers", "billing.invoices"),
        functions=("count", "pg_catalog.lower", "lower"),
    )


@pytest.mark.parametrize(
    ("text", "kinds", "why"),
    [
        ("DROP TABLE a", ("drop",), ("drop",)),
        ("DELETE FROM a", ("delete",), ("no_where",)),
        ("DELETE FROM a WHERE 1 = 1", ("delete",), ("always_true",)),
        ("SELECT 1; SELECT 2", ("select", "select"), ("several_statements",)),
        ("SELECT * INTO b FROM a", ("select",), ("select_into",)),
        ("EXPLAIN ANALYZE DELETE FROM a WHERE id = 1", ("explain",), ("explain_write",)),
        ("COPY a FROM PROGRAM 'id'", ("copy",), ("file_access", "program")),
        ("CALL p()", ("call",), ("procedure",)),
        ("GRANT ALL ON a TO b", ("grant",), ("grant",)),
        ("SELECT", ("unparsable",), ("unparsable",)),
        ("", (), ("empty",)),
    ],
)
def test_why_names_what_was_found(text: str, kinds: tuple[str, ...], why: tuple[str, ...]) -> None:
    reading = read_sql(text, "postgres")
    assert (reading.statements, reading.why) == (kinds, why)


@pytest.mark.parametrize(
    "text",
    ["CREATE TABLE a (b int)", "ALTER TABLE a ADD b int", "DROP TABLE a", "TRUNCATE a", "SELECT 1 AS b INTO a",
     "COMMENT ON TABLE a IS 'b'", "ALTER TABLE a RENAME TO b"],
)  # fmt: skip
def test_what_changes_a_schema_says_so(text: str) -> None:
    assert read_sql(text, "postgres").schema_change


@pytest.mark.parametrize("text", ["SELECT 1", "INSERT INTO a VALUES (1)", "DELETE FROM a", "GRANT ALL ON a TO b"])
def test_what_changes_no_schema_does_not(text: str) -> None:
    assert not read_sql(text, "postgres").schema_change


@pytest.mark.parametrize(
    ("text", "dialect", "tables"),
    [
        ("SELECT * FROM [dbo].[a b]", "tsql", ("dbo.a b",)),
        ("SELECT * FROM `p-1.d.t`", "bigquery", ("p-1.d.t",)),
        ('SELECT * FROM "a""b"', "postgres", ('a"b',)),
        ("SELECT * FROM a, a AS b", "postgres", ("a",)),
        ("WITH a AS (SELECT * FROM a) SELECT * FROM a", "postgres", ("a",)),
        ("DELETE x FROM a AS x JOIN b ON b.id = x.id WHERE b.c = 1", "mysql", ("a", "b")),
        ("DROP TABLE IF EXISTS a.b, c", "postgres", ("a.b", "c")),
        ("SELECT * FROM a WHERE FROM", "postgres", ("a",)),
    ],
)
def test_tables_are_named_as_they_are_written_without_their_quotes(
    text: str, dialect: str, tables: tuple[str, ...]
) -> None:
    assert read_sql(text, dialect).tables == tables


def test_a_lone_carriage_return_ends_a_comment_in_postgres_and_not_in_mysql_nor_sqlite() -> None:
    text = "SELECT 1 -- x\r; DROP TABLE t"
    assert [read_sql(text, each).destructive for each in ("postgres", "mysql", "sqlite")] == [True, False, False]


def test_a_backslash_escapes_in_mysql_and_not_in_postgres() -> None:
    text = "SELECT '\\'; DROP TABLE t; -- '"
    assert [read_sql(text, each).destructive for each in ("postgres", "mysql")] == [True, False]


def test_comments_nest_in_postgres_and_not_in_sqlite() -> None:
    text = "/* /* */ DROP TABLE t -- */ SELECT 1"
    assert [read_sql(text, each).destructive for each in ("postgres", "sqlite")] == [False, True]


@pytest.mark.parametrize("dialect", ["", "POSTGRES", "cobol", "none"])
def test_another_dialect_is_not_guessed(dialect: str) -> None:
    reading = read_sql("SELECT 1", dialect)
    assert (reading.destructive, reading.why) == (True, ("unknown_dialect",))


def test_a_text_that_is_too_long_is_destructive_unread() -> None:
    reading = read_sql("SELECT 1 " + " " * MAX_CHARACTERS, "postgres")
    assert (reading.destructive, reading.why) == (True, ("too_long",))


def test_a_text_of_surrogates_is_read() -> None:
    assert read_sql("SELECT '\ud800'", "postgres").why == ("control_character",)


def test_the_rules_cannot_be_changed_and_each_is_one_sentence() -> None:
    assert isinstance(SQL_RULES, MappingProxyType)
    assert all(sentence.strip().endswith(".") for sentence in SQL_RULES.values())


def test_nothing_of_a_text_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        for text in (
            "CREATE TABLE hush (a) WITHOUT ROWID",
            "SHOW hush",
            "ALTER hush",
            "SELECT hush FROM",
            "SET hush = 1",
        ):
            for dialect in DIALECTS:
                read_sql(text, dialect)
    assert caplog.text == ""


def test_a_reading_is_remembered() -> None:
    first = read_sql("SELECT a FROM remembered", "postgres")
    assert read_sql("SELECT a FROM remembered", "postgres") is first
    assert read_sql("SELECT a FROM remembered", "mysql") is not first


def test_no_more_is_remembered_than_the_bound() -> None:
    for number in range(sql.MAX_REMEMBERED + 50):
        read_sql(f"SELECT {number}", "sqlite")
    assert len(sql._remembered) <= sql.MAX_REMEMBERED


def test_a_reading_that_is_large_is_not_remembered() -> None:
    text = "SELECT " + ", ".join(f"function_number_{number}(1)" for number in range(100))
    assert read_sql(text, "postgres") is not read_sql(text, "postgres")
    assert read_sql(text, "postgres") == read_sql(text, "postgres")
