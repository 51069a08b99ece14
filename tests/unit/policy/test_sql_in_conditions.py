"""What conditions ask of SQL, and what they come to where there is none."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from callgate.identity.spiffe_id import SpiffeId
from callgate.policy.call import Call
from callgate.policy.cel_reading import rewritten
from callgate.policy.condition import Condition, Truth, Verdict, compile_condition
from callgate.policy.patterns import ToolPattern
from callgate.policy.reading import MAX_TEXTS
from callgate.policy.reading_fields import FIELDS, MAX_NAMES, MAX_READINGS
from callgate.policy.tags import Declaration, ToolTags
from callgate.wire.json_strict import JsonObject, JsonValue

CALL = Call(
    caller=SpiffeId.parse("spiffe://acme.test/a"),
    server="db",
    method="tools/call",
    tool="query",
    arguments={},
    now=1.8e9,
)
TAGS = ToolTags(
    (),
    (
        Declaration("db", (ToolPattern.parse("query"),), ((("query",), "postgres"), (("batch", 0), "postgres"))),
        Declaration("db", (ToolPattern.parse("nested"),), ((("options", "sql"), "mysql"),)),
        Declaration("db", (ToolPattern.parse("both"),), ((("query",), "mysql"),)),
        Declaration("db", (ToolPattern.parse("bo*"),), ((("query",), "postgres"),)),
    ),
)


def compiled(text: str) -> Condition:
    found = compile_condition(text)
    assert isinstance(found, Condition), found
    return found


def came_to(text: str, arguments: JsonObject, tool: str = "query") -> Verdict:
    return compiled(text).evaluate(replace(CALL, arguments=arguments, tool=tool), TAGS)


def messages(text: str) -> list[tuple[int, str]]:
    found = compile_condition(text)
    assert not isinstance(found, Condition)
    return [(problem.column, problem.message) for problem in found]


HOLDS, DOES_NOT = Verdict(Truth.HOLDS), Verdict(Truth.FAILS_TO_HOLD)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("!sql(args.query).destructive", "SELECT name FROM users"),
        ("sql(args.query).destructive", "DROP TABLE users"),
        ("sql(args.query).destructive && sql(args.query).writes", "DELETE FROM users"),
        ('sql(args.query).statements == ["select"]', "SELECT name FROM users"),
        ('sql(args.query).tables.all(t, t in ["users", "shops"])', "SELECT name FROM users"),
        ('"users" in sql(args.query).tables', "SELECT name FROM users"),
        ("sql(args.query).tables.size() == 1", "SELECT name FROM users"),
        ("sql(args.query).writes && !sql(args.query).destructive", "INSERT INTO users (name) VALUES ('a')"),
        ("sql(args.query).schema_change", "ALTER TABLE users ADD COLUMN x int"),
        ('sql(args.query).functions.exists(f, f == "count")', "SELECT count(*) FROM users"),
        ("sql(args.query).why.size() > 0", "DROP TABLE users"),
        ("sql(args.query).why.size() == 0", "SELECT name FROM users"),
        ("sql(args.query).destructive && args.query.size() < 20", "SELECT FROM ) ("),
        ('sql(args["query"]).destructive', "DROP TABLE users"),
        (
            "sql( args . query /* no comment of CEL */ ).x == 1 || true".replace("/* no comment of CEL */", "").replace(
                ".x == 1", ".writes"
            ),
            "DROP TABLE a",
        ),
    ],
)
def test_conditions_ask_what_a_statement_does(text: str, query: str) -> None:
    assert came_to(text, {"query": query}) == HOLDS


def test_a_second_operand_says_the_dialect_where_nothing_is_declared() -> None:
    text = '!sql(args.other, "postgres").destructive'

    assert came_to(text, {"other": "SELECT 1"}) == HOLDS
    assert came_to("!sql(args.other).destructive", {"other": "SELECT 1"}).why == "args.other is not declared as SQL"


def test_what_is_declared_deeper_is_found_by_its_path() -> None:
    assert came_to("sql(args.options.sql).destructive", {"options": {"sql": "DROP TABLE a"}}, "nested") == HOLDS
    assert came_to("sql(args.batch[0]).destructive", {"batch": ["DROP TABLE a", "SELECT 1"]}) == HOLDS
    assert came_to("sql(args.batch[1]).destructive", {"batch": ["DROP TABLE a", "SELECT 1"]}).truth is Truth.FAILED


@pytest.mark.parametrize(
    ("arguments", "tool", "why"),
    [
        ({"query": "SELECT 1"}, "other", "args.query is not declared as SQL"),
        ({}, "query", "no argument 'query'"),
        (
            {"query": 5},
            "query",
            "args.query is a whole number, and is declared as SQL, which is text or a list of texts",
        ),
        ({"query": None}, "query", "args.query is null, and is declared as SQL, which is text or a list of texts"),
        (
            {"query": {"a": "SELECT 1"}},
            "query",
            "args.query is an object, and is declared as SQL, which is text or a list",
        ),
        (
            {"query": ["SELECT 1", 5]},
            "query",
            "args.query is a list, and is declared as SQL, which is text or a list of",
        ),
        ({"query": ["SELECT 1"] * (MAX_TEXTS + 1)}, "query", f"args.query has more than {MAX_TEXTS} entries"),
        ({"query": "SELECT 1", "Query": "x"}, "query", "args has another spelling of 'query', or too many names"),
    ],
)
@pytest.mark.parametrize("text", ["sql(args.query).destructive", "!sql(args.query).destructive"])
def test_what_cannot_be_read_as_it_is_declared_fails(text: str, arguments: JsonObject, tool: str, why: str) -> None:
    found = came_to(text, arguments, tool)

    assert found.truth is Truth.FAILED
    assert found.why.startswith(why)


def test_a_reading_that_settles_nothing_is_passed_over() -> None:
    assert came_to("sql(args.query).destructive || args.a == 1", {"a": 1}) == HOLDS
    assert came_to("sql(args.query).destructive && args.a == 1", {"a": 2}) == DOES_NOT


def test_of_a_list_of_texts_the_worst_counts() -> None:
    safe, bad = "SELECT name FROM users", "DROP TABLE shops"

    assert came_to("sql(args.query).destructive", {"query": [safe, bad]}) == HOLDS
    assert came_to("sql(args.query).destructive", {"query": [safe, safe]}) == DOES_NOT
    assert came_to("sql(args.query).tables.size() == 2", {"query": [safe, safe]}) == HOLDS
    assert came_to("sql(args.query).destructive", {"query": []}) == DOES_NOT


def test_what_two_entries_declare_is_read_in_both_dialects_and_the_worst_counts() -> None:
    # A comment for one of them, and a statement for the other.
    text = "SELECT 1 # \n; DROP TABLE users"

    assert came_to("sql(args.query).destructive", {"query": text}, "both") == HOLDS
    assert came_to("sql(args.query).statements.size() == 2", {"query": "SELECT 1"}, "both") == HOLDS


def test_more_names_than_can_be_looked_at_are_no_answer_and_the_rest_is() -> None:
    # Each is harmless, and all of them together name a table too many.
    names = [[f"t{number}_{query}" for number in range(20)] for query in range(14)]
    queries: list[JsonValue] = ["SELECT 1 FROM " + ", ".join(each) for each in names]  # noqa: S608  # read, and sent nowhere
    assert 20 * len(queries) > MAX_NAMES

    found = came_to("sql(args.query).tables.all(t, t != 'x')", {"query": queries})
    assert found == Verdict(Truth.FAILED, "args.query has more tables than can be looked at, or longer ones")
    assert came_to("sql(args.query).writes", {"query": queries}) == DOES_NOT


@pytest.mark.parametrize(
    ("text", "column", "message"),
    [
        ("sql(args.query).destructiv", 17, "what sql finds has no 'destructiv'; did you mean 'destructive'?"),
        ("sql(args.query).network", 17, "what sql finds has no 'network'; it has writes, destructive, schema_change"),
        ("sql(args.query)", 15, "what sql finds is nothing by itself; it has writes"),
        ('sql(args.query)["writes"]', 15, "what sql finds is nothing by itself; it has writes"),
        ("sql(args.query) == true", 15, "what sql finds is nothing by itself; it has writes"),
        ("sql(args.query).writes == 5", 24, "'==' does not take bool, int"),
        ("sql(args.query).tables", 0, "must be true or false, not a list"),
        ('sql(args.query).tables == "a"', 24, "'==' does not take list(string), string"),
        ("sql(args).writes", 9, "sql takes an argument that is written out: sql(args.query).destructive"),
        ("sql().writes", 5, "sql takes an argument that is written out"),
        ('sql("SELECT 1").writes', 5, "sql takes an argument that is written out"),
        ("sql(user.subject).writes", 5, "sql takes an argument that is written out"),
        ("sql(args.a + args.b).writes", 12, "sql takes an argument that is written out"),
        ("sql(args[args.b]).writes", 9, "sql takes an argument that is written out"),
        ('sql(args.a, "postgre").writes', 13, "sql knows no 'postgre'; did you mean 'postgres'?"),
        ("sql(args.a, args.dialect).writes", 13, "sql takes one of"),
        ('sql(args.a, "postgres", 1).writes', 23, "sql takes an argument that is written out"),
        ("sql == 1", 1, "'sql' is nothing by itself; it is asked like sql(args.query).destructive"),
        ("args.q.exists(sql, sql == 1)", 15, "'sql' is nothing by itself"),
        ("sql.r0.writes", 1, "'sql' is nothing by itself"),
        ("has(sql(args.query).tables)", 5, "has is not asked of sql(...)"),
        ("args.qs.all(q, !sql(q).destructive)", 21, "sql takes an argument that is written out"),
        ("sqll(args.q).writes", 5, "'sqll' is not known; did you mean 'sql'?"),
        ("\n\n  sql(\n args.query).writs", 0, "what sql finds has no 'writs'; did you mean 'writes'?"),
    ],
)
def test_what_cannot_be_meant_is_told_when_it_is_read(text: str, column: int, message: str) -> None:
    found = messages(text)

    assert found[0][1].startswith(message)
    assert not column or found[0][0] == column


def test_readings_are_counted_by_what_is_read() -> None:
    many = " || ".join(f"sql(args.a{number}).writes" for number in range(MAX_READINGS))
    same = " || ".join(["sql(args.a).writes"] * 30)

    compiled(many)
    compiled(same)
    assert f"reads SQL and shell more than {MAX_READINGS} times" in messages(f"{many} || sql(args.b).writes")[0][1]


def test_a_name_within_text_comments_and_fields_is_left_alone() -> None:
    text = """args.sql == "sql(args.q).writes" && args.b == r'sql(' // sql(
      && args.shell.sql == '''sql''' """

    assert rewritten(text).text == text
    assert came_to(text, {"sql": "sql(args.q).writes", "b": "sql(", "shell": {"sql": "sql"}}) == HOLDS


def test_what_stands_behind_a_reading_keeps_its_place() -> None:
    text = 'sql(\n  args . query ,\n "postgres"\n)\n.writes && args.x == tru'

    found = compile_condition(text)
    assert isinstance(found, tuple)
    assert [(problem.line, problem.column) for problem in found] == [(5, 22)]


@given(
    st.lists(
        st.sampled_from(
            [
                "sql",
                "shell",
                "(",
                ")",
                "args",
                ".",
                "query",
                ",",
                '"postgres"',
                "writes",
                "'",
                '"',
                "r",
                "\n",
                " ",
                "//",
                "[",
                "0",
                "]",
                "&&",
                "\\",
                "`",
            ]
        ),
        max_size=25,
    ).map("".join)
)
def test_rewriting_is_total_and_keeps_every_line_and_column(text: str) -> None:
    found = rewritten(text)

    assert len(found.text) == len(text)
    assert [at for at, char in enumerate(found.text) if char == "\n"] == [
        at for at, char in enumerate(text) if char == "\n"
    ]
    assert isinstance(compile_condition(text), Condition | tuple)


@given(st.text(max_size=200) | st.lists(st.text(max_size=20), max_size=40) | st.integers() | st.none())
def test_whatever_an_agent_sends_a_condition_comes_to_something(value: JsonObject) -> None:
    condition = compiled("!sql(args.query).destructive && sql(args.query).tables.all(t, t == 'users')")

    assert condition.evaluate(replace(CALL, arguments={"query": value}), TAGS).truth in Truth


def test_an_author_is_shown_what_was_found() -> None:
    condition = compiled(
        '!sql(args.query).destructive && "users" in sql(args.query).tables && sql(args.x, "mysql").writes'
    )
    found = condition.seen(replace(CALL, arguments={"query": "SELECT name FROM users"}), TAGS)

    assert found["sql(args.query).destructive"] is False
    assert found["sql(args.query).tables"] == ["users"]
    assert 'sql(args.x, "mysql").writes' not in found
    assert 'sql(args.x, "mysql").writes' in condition.paths
    assert set(found) <= set(condition.paths)


def test_a_condition_that_reads_sql_reads_its_argument() -> None:
    condition = compiled("sql(args.query).writes")

    assert condition.arguments == frozenset({"query"})
    assert condition.reads_call
    assert FIELDS["sql"].keys() == {
        "writes",
        "destructive",
        "schema_change",
        "statements",
        "tables",
        "functions",
        "why",
    }


def test_a_loop_over_many_names_is_within_the_budget_or_fails() -> None:
    names = [f"table_with_a_long_name_{number}" for number in range(200)]
    query = "SELECT 1 FROM " + ", ".join(names)  # noqa: S608  # read, and sent nowhere
    once = "sql(args.query).tables.all(t, t.startsWith('table_'))"
    squared = "sql(args.query).tables.all(t, sql(args.query).tables.all(u, t.contains(u) || u.contains(t) || true))"

    assert came_to(once, {"query": query}) == HOLDS
    assert came_to(squared, {"query": query}).why.startswith("budget exceeded")
    assert came_to(squared, {"query": "SELECT 1 FROM a, b"}) == HOLDS
