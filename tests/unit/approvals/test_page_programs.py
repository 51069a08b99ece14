"""SQL and shell among a call's arguments, with what screening says of them."""

from collections.abc import Sequence
from typing import Final

from callgate.approvals.site.programs import MAX_PROGRAMS, Program, read_programs
from callgate.approvals.site.visible import Allowance
from callgate.screening.pack_terms import ArgumentPath, Declared, ShellForm
from callgate.screening.shell import SHELL_RULES
from callgate.screening.sql import SQL_RULES
from callgate.wire.json_strict import JsonObject, JsonValue

BASH: Final[ShellForm] = "bash"
ARGV: Final[ShellForm] = "argv"


def sql(value: JsonValue, *dialects: str) -> Sequence[Program]:
    path: ArgumentPath = ("query",)
    return read({"query": value}, Declared(tuple((path, dialect) for dialect in dialects or ("postgres",))))


def shell(value: JsonValue, form: ShellForm = BASH) -> Sequence[Program]:
    return read({"command": value}, Declared((), ((("command",), form),)))


def read(arguments: JsonObject, declared: Declared) -> Sequence[Program]:
    return read_programs(arguments, declared, Allowance(100_000))


def telling(program: Program) -> list[str]:
    return [piece.text for piece in program.text.head if piece.kind == "telling"]


def text_of(program: Program) -> str:
    return "".join(piece.text for piece in program.text.head)


def test_destructive_sql_has_its_words_marked_and_its_reasons_said() -> None:
    (program,) = sql("ALTER TABLE invoices DROP COLUMN paid_at")

    assert program.destructive
    assert telling(program) == ["ALTER", "DROP"]
    assert program.why == (SQL_RULES["alter"],)
    assert "changes the schema" in program.marks


def test_sql_that_reads_is_not_marked() -> None:
    (program,) = sql("SELECT * FROM invoices WHERE id = 1")

    assert (program.destructive, telling(program), program.marks) == (False, [], ("reads only",))


def test_a_telling_word_in_a_comment_is_marked_too() -> None:
    (program,) = sql("SELECT 1; /* x */ DROP TABLE t -- drop", "mysql")

    assert telling(program).count("DROP") + telling(program).count("drop") == 2


def test_each_dialect_that_is_declared_counts() -> None:
    (program,) = sql("SELECT 1 /*! INTO OUTFILE '/tmp/x' */", "postgres", "mysql")

    assert program.what == "SQL (postgres, mysql)"
    assert SQL_RULES["executable_comment"] in program.why


def test_destructive_shell_has_its_commands_marked_and_its_reasons_said() -> None:
    (program,) = shell("cd /srv && rm -rf data")

    assert program.destructive
    assert {"rm", "-rf", "&&"} <= set(telling(program))
    assert SHELL_RULES["delete"] in program.why


def test_an_argument_list_is_shown_with_its_words_apart() -> None:
    (program,) = shell(["rm", "-rf", "a b"], ARGV)

    assert text_of(program) == "rm -rf 'a b'"
    assert program.destructive


def test_what_is_not_of_the_declared_type_is_no_program() -> None:
    assert sql(17) == shell(["rm"]) == shell("rm", ARGV) == shell([1], ARGV) == ()


def test_hidden_signs_in_a_program_are_written_out() -> None:
    (program,) = sql("SELECT 1\u202e")

    assert "⟨U+202E⟩" in text_of(program)


def test_no_more_programs_are_read_than_a_page_takes() -> None:
    many = {f"q{number}": "SELECT 1" for number in range(2 * MAX_PROGRAMS)}
    declared = Declared(tuple(((name,), "postgres") for name in many))

    assert len(read(dict(many), declared)) == MAX_PROGRAMS
