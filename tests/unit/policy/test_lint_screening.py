"""Masks that mask nothing, programs that nobody declared, entries about nobody's server: told, and only where it is so."""

import pytest

from callgate.policy.compile import Policy, load_policies
from callgate.policy.lint import Surroundings, lint
from callgate.policy.remarks import Level, Remark
from callgate.wire.json_strict import JsonObject

NOW = 1_767_787_200.0
HEAD = "version: 1\ntrust_domains: [acme.test]\n"
SQL = "tools:\n  - {server: db, tools: [query], sql: {query: postgres}}\n"


def remarks(text: str, tools: dict[str, dict[str, JsonObject]] | None = None) -> list[Remark]:
    files = [("policy.yaml", HEAD + text)]
    policy = load_policies(files)
    assert isinstance(policy, Policy), policy
    return [each for each in lint(policy, files, Surroundings(NOW, tools or {})) if each.check.code in CODES]


def codes(text: str, tools: dict[str, dict[str, JsonObject]] | None = None) -> list[str]:
    return [each.check.code for each in remarks(text, tools)]


CODES = {"CG104", "CG216", "CG217", "CG218", "CG219"}


def grant(name: str, tools: str, more: str = "", server: str = "db") -> str:
    body = f'id: {name}, workloads: ["spiffe://acme.test/*"], server: {server}, tools: {tools}'
    return f"  - {{{body}{', ' + more if more else ''}}}\n"


def test_an_entry_about_a_server_of_no_rule_is_told_of() -> None:
    text = "screening:\n  - {server: dbs, mask: [email]}\ntools:\n  - {server: crm, tools: [x], tags: [a]}\n"
    found = remarks(text + "grants:\n" + grant("g", "[query]"))

    assert [(each.check.code, each.line, each.column) for each in found] == [("CG219", 4, 14), ("CG219", 6, 14)]
    assert found[0].message == "no rule is about the server 'dbs'; did you mean 'db'?"
    assert codes("screening:\n  - {server: db, mask: [email]}\ngrants:\n" + grant("g", "[query]")) == []


@pytest.mark.parametrize("unmask", ["[phone]", "[national_id]"])
def test_unmasking_what_nothing_masks_is_told_of(unmask: str) -> None:
    screening = "screening:\n  - {server: db, mask: [email]}\ngrants:\n"

    (found,) = remarks(screening + grant("g", "[query]", f"unmask: {unmask}"))
    assert (found.check.code, found.level, found.rule) == ("CG217", Level.WARNING, "g")


def test_unmasking_some_of_a_group_is_a_note() -> None:
    screening = "screening:\n  - {server: db, mask: [us_ssn]}\ngrants:\n"

    (found,) = remarks(screening + grant("g", "[query]", "unmask: [national_id]"))
    assert (found.check.code, found.level) == ("CG217", Level.NOTE)


def test_unmasking_counts_masks_of_other_tools_and_servers_for_nothing() -> None:
    for screening in ("{server: db, tools: [other], mask: [email]}", "{server: x, mask: [email]}"):
        found = codes(f"screening:\n  - {screening}\ngrants:\n" + grant("g", "[query]", "unmask: [email]"))
        assert "CG217" in found
    assert (
        codes(
            "screening:\n  - {server: db, tools: ['q*'], mask: [email]}\ngrants:\n"
            + grant("g", "[query]", "unmask: [email]")
        )
        == []
    )


def test_unmasking_that_a_wider_grant_undoes_is_told_of() -> None:
    screening = "screening:\n  - {server: db, mask: [email]}\ngrants:\n"
    narrow = grant("narrow", "[query]", "unmask: [email]")

    (found,) = remarks(screening + narrow + grant("wide", "['*']"))
    assert (found.check.code, found.rule) == ("CG218", "narrow")
    assert "'wide' allows the same calls" in found.message
    for other in ("unmask: [email]", "when: args.x == 1", "users: {any: true}", "shadow: true"):
        assert codes(screening + narrow + grant("wide", "['*']", other)) == []


@pytest.mark.parametrize("kind", ["grants", "denials"])
def test_a_condition_on_sql_that_nobody_declared_is_told_of(kind: str) -> None:
    rule = grant("g", "[other]", "when: '!sql(args.query).destructive'")

    (found,) = remarks(f"{SQL}{kind}:\n{rule}")
    assert (found.check.code, found.rule) == ("CG216", "g")
    assert "sql(args.query) has no answer for tool 'other'" in found.message
    assert ("denies every call" if kind == "denials" else "gives no call") in found.message


@pytest.mark.parametrize(
    ("tools", "when", "told"),
    [
        ("[query]", "!sql(args.query).writes", False),
        ("[query]", "!sql(args.other).writes", True),
        ("[query]", '!sql(args.other, "mysql").writes', False),
        ("[query, other]", "!sql(args.query).writes", True),
        ("['q*']", "!sql(args.query).writes", False),
        ("['x*']", "!sql(args.query).writes", True),
        ("[query]", "!shell(args.query).writes", True),
    ],
)
def test_only_what_is_certainly_not_declared_is_told_of(tools: str, when: str, told: bool) -> None:
    assert codes(f"{SQL}grants:\n" + grant("g", tools, f"when: '{when}'")) == ["CG216"] * told


def test_a_pack_on_a_tool_of_which_nothing_is_declared_is_told_of() -> None:
    granted = "grants:\n" + grant("g", "[query, list_tables]")
    pack = "packs:\n  - {pack: destructive-sql@1, server: db%s}\n"

    (found,) = remarks(SQL + granted + pack % "")
    assert (found.check.code, found.rule, found.line) == ("CG216", "db-destructive-sql", 8)
    assert "denies every call of tool 'list_tables'" in found.message
    for more in (", tools: [query]", ", except: {tools: ['list_*']}", ", except: {rules: [undeclared]}"):
        assert codes(SQL + granted + pack % more) == []
    assert codes(SQL + granted + "packs:\n  - {pack: secrets@1, server: db}\n") == []


def test_the_servers_list_tells_of_more_tools_that_a_pack_would_deny() -> None:
    text = SQL + "grants:\n" + grant("g", "['*']") + "packs:\n  - {pack: destructive-sql@1, server: db}\n"
    listed: dict[str, dict[str, JsonObject]] = {"db": {"query": {"type": "object"}, "list": {"type": "object"}}}

    assert codes(text) == []
    (found,) = remarks(text, listed)
    assert "tool 'list'" in found.message


def schema(**properties: str) -> JsonObject:
    return {"type": "object", "properties": {name: {"type": kind} for name, kind in properties.items()}}


def test_a_declared_argument_that_no_schema_has_is_told_of() -> None:
    text = "tools:\n  - {server: db, tools: ['q*'], sql: {querry: postgres, /options/sql: mysql}}\ngrants:\n" + grant(
        "g", "['*']"
    )
    listed: dict[str, dict[str, JsonObject]] = {"db": {"query": schema(query="string", options="object")}}

    (found,) = remarks(text, listed)
    assert (found.check.code, found.line, found.column) == ("CG104", 4, 39)
    assert found.message == "for tool 'query': the tool has no argument 'querry'; did you mean 'query'?"
    assert codes(text) == []


@pytest.mark.parametrize(("kind", "told"), [("integer", True), ("object", True), ("string", False), ("array", False)])
def test_a_declared_argument_that_can_be_no_text_is_told_of(kind: str, told: bool) -> None:
    listed: dict[str, dict[str, JsonObject]] = {"db": {"query": schema(query=kind)}}

    assert codes(SQL + "grants:\n" + grant("g", "[query]"), listed) == ["CG104"] * told


def test_one_tool_of_several_that_has_the_argument_is_enough() -> None:
    text = "tools:\n  - {server: db, tools: ['*'], sql: {query: postgres}}\ngrants:\n" + grant("g", "['*']")
    listed: dict[str, dict[str, JsonObject]] = {"db": {"query": schema(query="string"), "list": schema(name="string")}}

    assert codes(text, listed) == []


def test_a_schema_is_held_against_what_a_condition_reads_of_a_program() -> None:
    files = [("policy.yaml", HEAD + SQL + "grants:\n" + grant("g", "[query]", "when: '!sql(args.query).writes'"))]
    policy = load_policies(files)
    assert isinstance(policy, Policy)

    def said(query: JsonObject) -> list[str]:
        found = lint(policy, files, Surroundings(NOW, {"db": {"query": {"properties": query, "type": "object"}}}))
        return [each.check.code for each in found]

    assert said({"query": {"type": "string"}}) == []
    assert "CG102" in said({"statement": {"type": "string"}})
    assert "CG103" in said({"query": {"type": "integer"}})


def test_grants_that_differ_in_masks_are_not_redundant() -> None:
    def found(wide: str, narrow: str) -> list[str]:
        screening = "screening:\n  - {server: db, mask: [email]}\ngrants:\n"
        files = [("policy.yaml", HEAD + screening + grant("wide", "['*']", wide) + grant("narrow", "[query]", narrow))]
        policy = load_policies(files)
        assert isinstance(policy, Policy)
        return [each.check.code for each in lint(policy, files, Surroundings(NOW)) if each.check.code == "CG204"]

    assert found("", "") == ["CG204"]
    assert found("", "mask: [phone]") == []
    assert found("", "mask_arguments: [phone]") == []
    assert found("mask: [phone]", "mask: [phone]") == ["CG204"]
    assert found("unmask: [email]", "") == []
    assert found("unmask: [email]", "unmask: [email]") == ["CG204"]
