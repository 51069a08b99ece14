"""What holds for every SQL text: it is read without a fault, and nothing that is put between its words makes it safe."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.screening.sql import DIALECTS, SQL_RULES, read_sql
from callgate.screening.sql_lexical import Part, parts_of
from support.screen_score import read_corpus

CASES = [case for case in read_corpus("sql") if not case["ambiguous"]]
DESTRUCTIVE = [case for case in CASES if case["expect"] == "destructive"]
SAFE = [case for case in CASES if case["expect"] == "safe"]
WORDS = sorted({word for case in CASES for word in case["sql"].split()})
SOUP = st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join)
DELETES = "DELETE FROM t WHERE "
# What every dialect takes for a blank.
BLANKS = st.sampled_from((" ", "\n", "\t", "  ", "/**/", " /* x */ ", "\r\n", " /*;*/ ", "/*'*/"))
TSQL_STATEMENTS = (
    "SHUTDOWN", "DROP TABLE x", "EXEC sp_who", "DELETE FROM t", "TRUNCATE TABLE t", "SELECT 1", "KILL 5", "RECONFIGURE",
    "WAITFOR DELAY '0:0:5'", "CHECKPOINT", "EXEC('x')", "INSERT INTO t VALUES (1)", "UPDATE t SET a = 1", "USE master",
    "DECLARE @x int", "IF 1=1 SELECT 1", "DBCC FREEPROCCACHE", "GRANT ALL TO x", "COMMIT", "ROLLBACK", "PRINT 'x'",
    "CREATE TABLE z (a int)", "ALTER TABLE t ADD x int", "SET NOCOUNT ON", "DENY SELECT ON t TO x", "REVERT",
    "BACKUP LOG x TO DISK='y'", "SETUSER 'x'", "SAVE TRAN x", "RETURN", "WHILE 1=1 SELECT 1", "RAISERROR('x', 1, 1)",
)  # fmt: skip


@given(st.text(max_size=80), st.sampled_from(DIALECTS))
@settings(max_examples=400)
def test_any_text_is_read_without_a_fault(text: str, dialect: str) -> None:
    reading = read_sql(text, dialect)
    assert reading.destructive == bool(reading.why)
    assert set(reading.why) <= SQL_RULES.keys()
    assert read_sql(text, dialect) == reading


@given(SOUP, st.sampled_from(DIALECTS))
@settings(max_examples=400)
def test_any_words_are_read_without_a_fault(text: str, dialect: str) -> None:
    reading = read_sql(text, dialect)
    assert reading.destructive == bool(reading.why)
    assert list(reading.why) == sorted(set(reading.why))


@given(st.sampled_from(DESTRUCTIVE), st.data())
@settings(max_examples=400)
def test_no_blank_nor_comment_between_its_words_makes_a_destructive_statement_safe(
    case: dict[str, str], data: st.DataObject
) -> None:
    text = _with_blanks(case["sql"], case["dialect"], data)
    assert text is None or read_sql(text, case["dialect"]).destructive


@given(st.sampled_from(SAFE), st.data())
@settings(max_examples=200)
def test_no_blank_nor_comment_between_its_words_makes_a_safe_statement_destructive(
    case: dict[str, str], data: st.DataObject
) -> None:
    text = _with_blanks(case["sql"], case["dialect"], data)
    assert text is None or not read_sql(text, case["dialect"]).destructive


def _with_blanks(text: str, dialect: str, data: st.DataObject) -> str | None:
    """The text with other blanks where blanks stand between its parts; None where they cannot be told from others."""
    parts = parts_of(text, dialect)
    if (
        parts.why
        or any(part.kind in {"string", "name"} for part in parts.parts)
        or "-" in text
        or "/" in text
        or "#" in text
    ):
        return None
    pieces = [(data.draw(BLANKS) if part.apart else "") + part.text for part in parts.parts]
    return "".join(pieces)


@given(st.sampled_from(DESTRUCTIVE), st.randoms(use_true_random=False))
@settings(max_examples=400)
def test_the_case_of_words_makes_no_destructive_statement_safe(case: dict[str, str], chance: st.DataObject) -> None:
    text: str = case["sql"]
    if not text.isascii() or any(part.kind != "word" and part.text.isalpha() for part in _parts(case)):
        return
    mixed = "".join(letter.upper() if chance.random() < 0.5 else letter.lower() for letter in text)  # type: ignore[attr-defined]
    assert read_sql(mixed, case["dialect"]).destructive


def _parts(case: dict[str, str]) -> list[Part]:
    return parts_of(case["sql"], case["dialect"]).parts


@pytest.mark.parametrize("second", ["; DROP TABLE x", ";\nSELECT 1", " ; TRUNCATE TABLE y", ";/**/DELETE FROM t"])
def test_nothing_that_is_stacked_on_a_safe_statement_passes(second: str) -> None:
    passed = []
    for case in SAFE:
        text = case["sql"].rstrip("; \n\t") + ("\n" if any(sign in case["sql"] for sign in ("--", "#", "//")) else "")
        if not read_sql(text + second, case["dialect"]).destructive:
            passed.append((case["dialect"], text + second))
    assert passed == []


@pytest.mark.parametrize("second", TSQL_STATEMENTS)
def test_no_second_statement_passes_in_transact_sql_where_no_semicolon_is_needed(second: str) -> None:
    firsts = [case["sql"].rstrip("; \n") for case in SAFE if case["dialect"] == "tsql" and "--" not in case["sql"]]
    texts = [first + blank + second for first in firsts for blank in (" ", "\n", "/**/")]
    assert [text for text in texts if not read_sql(text, "tsql").destructive] == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_condition_that_leaves_nothing_out_is_seen_however_it_is_joined(dialect: str) -> None:
    always = (
        "1 = 1",
        "id = id",
        "NOT 1 = 2",
        "'a' = 'a'",
        "id IS NOT NULL",
        "(1 < 2)",
        "1 IN (1, 2)",
        "1 BETWEEN 0 AND 2",
    )
    for condition in always:
        for text in (
            condition,
            f"({condition})",
            f"a = 5 OR {condition}",
            f"{condition} OR a = 5",
            f"NOT NOT ({condition})",
        ):
            assert read_sql(DELETES + text, dialect).destructive, text
        assert not read_sql(f"{DELETES} a = 5 AND {condition}", dialect).destructive, condition
