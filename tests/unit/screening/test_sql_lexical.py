"""Where a statement ends: quotes, comments and escapes of each dialect."""

import sqlite3
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from callgate.screening.sql import DIALECTS, read_sql
from callgate.screening.sql_lexical import MAX_PARTS, Parts, _Reader, _usual_parts, parts_of
from callgate.screening.sql_lexicon import LEXICONS
from callgate.screening.sql_patterns import pattern_of
from callgate.screening.sql_plain import plain_text

FRAGMENTS = (
    "'", '"', "`", "[", "]", "--", "/*", "*/", "\n", "\r", ";", "DROP TABLE t", "SELECT 1", " ", "\\", "$$", "#", "''",
    ",", "(", ")", "1", "a", "x'", "E'", "q'", "N'", "//", "$a$", "\t", "AS", "!", "é", "0x1", "1e5", ".5", "-", "/", "*",
)  # fmt: skip
TEXTS = st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join)


def _kinds(text: str, dialect: str) -> list[tuple[str, str]]:
    return [(part.kind, part.text) for part in parts_of(text, dialect).parts]


@pytest.mark.parametrize(
    ("text", "dialect", "parts"),
    [
        ("E'a\\'b'", "postgres", [("string", "a\\'b")]),
        ("$x$ ' $x$", "postgres", [("string", " ' ")]),
        ('U&"\\0061b"', "postgres", [("name", "ab")]),
        ("a$$b", "postgres", [("word", "a$$b")]),
        ("'a''b'", "postgres", [("string", "a'b")]),
        ("1--1", "mysql", [("number", "1"), ("sign", "-"), ("sign", "-"), ("number", "1")]),
        ("1--1", "postgres", [("number", "1")]),
        ('"a\\"b"', "mysql", [("string", 'a\\"b')]),
        ("`a``b`", "mysql", [("name", "a`b")]),
        ("2024_t", "mysql", [("word", "2024_t")]),
        ("2024_t", "postgres", [("number", "2024_"), ("word", "t")]),
        ("[a]]b]", "tsql", [("name", "a]b")]),
        ("[a]b", "sqlite", [("name", "a"), ("word", "b")]),
        ("@x #t", "tsql", [("word", "@x"), ("word", "#t")]),
        ("q'[it's]'", "oracle", [("string", "it's")]),
        ("nq'!a!'", "oracle", [("string", "a")]),
        ("'''a'b'''", "bigquery", [("string", "a'b")]),
        ("r'a\\'b'", "bigquery", [("string", "a\\'b")]),
        ("1 // a", "snowflake", [("number", "1")]),
        ("1 // a", "duckdb", [("number", "1"), ("sign", "/"), ("sign", "/"), ("word", "a")]),
        ("$$a$b$$", "snowflake", [("string", "a$b")]),
        ("r'\\'", "spark", [("string", "\\")]),
    ],
)
def test_a_text_is_cut_up_as_its_dialect_says(text: str, dialect: str, parts: list[tuple[str, str]]) -> None:
    assert _kinds(text, dialect) == parts


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("text", ["SELECT 'a", 'SELECT "a', "SELECT /* a"])
def test_what_is_never_closed_cannot_be_read(text: str, dialect: str) -> None:
    assert "unparsable" in parts_of(text, dialect).why


@given(TEXTS, st.sampled_from(DIALECTS))
@settings(max_examples=300)
def test_the_short_way_through_usual_texts_comes_to_the_same(text: str, dialect: str) -> None:
    text = text.rstrip(" \t\r\n")
    usual = _usual_parts(text) if text.isascii() else None
    if usual is None or parts_of(text, dialect) != Parts(usual):
        return
    found = Parts()
    _Reader(text, LEXICONS[dialect], pattern_of(dialect), found).read()
    assert found == Parts(usual)


@given(TEXTS, st.sampled_from(DIALECTS))
@settings(max_examples=300)
def test_what_is_written_anew_holds_no_comment_and_is_cut_up_alike(text: str, dialect: str) -> None:
    found = parts_of(text, dialect)
    if found.why:
        return
    plain, _ = plain_text(found.parts, dialect)
    again = parts_of(plain, dialect)
    assert [part.kind for part in again.parts] == [part.kind for part in found.parts]
    assert [part.word for part in again.parts] == [part.word for part in found.parts]


def test_what_takes_too_many_parts_is_given_up() -> None:
    assert "too_long" in parts_of("a " * (MAX_PARTS + 1), "postgres").why
    assert "too_long" in parts_of("/**/" * MAX_PARTS, "postgres").why


@given(TEXTS)
@settings(max_examples=500)
@example("SELECT 1 -- \r DROP TABLE t\n;DROP TABLE t")
@example("/* /* */;DROP TABLE t")
@example("SELECT [';DROP TABLE t;--']")
@example("SELECT '\\';DROP TABLE t;--'")
def test_no_text_passes_that_makes_a_real_sqlite_drop_a_table(text: str) -> None:
    database = sqlite3.connect(":memory:")
    try:
        database.execute("CREATE TABLE t (a)")
        # What stands in front of a fault is carried out.
        with suppress(sqlite3.Error):
            database.executescript(text)
        dropped = not database.execute("SELECT 1 FROM sqlite_master WHERE name = 't'").fetchall()
    finally:
        database.close()
    assert not dropped or read_sql(text, "sqlite").destructive
