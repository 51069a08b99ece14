"""Rule packs against their corpora of calls that must be blocked and calls that must pass."""

import pytest

from callgate.screening.pack_terms import UNCLEAR, UNDECLARED
from callgate.screening.pack_walk import MISSING, UNTOLD, value_at
from callgate.screening.packs import NOTHING_DECLARED, PACKS, Declared, Pack, broken_rules, pack_problem, packs_table
from callgate.screening.shell import SHELL_RULES
from callgate.screening.sql import SQL_RULES
from callgate.wire.json_strict import JsonObject
from support.pack_score import broken_in, pack_cases, score_of
from support.screen_score import read_corpus

ALL = pytest.mark.parametrize("pack", PACKS.values(), ids=lambda pack: pack.name)
SQL = PACKS["destructive-sql@1"]
SHELL = PACKS["destructive-shell@1"]
EXFILTRATION = PACKS["exfiltration@1"]
PRIVILEGED = PACKS["privileged-exec@1"]


@ALL
def test_every_call_of_the_corpus_is_blocked_or_passes_as_it_must(pack: Pack) -> None:
    assert score_of(pack).missed == ()


@ALL
def test_a_blocked_call_breaks_the_rules_that_its_case_names(pack: Pack) -> None:
    wrong = [
        case.id for case in pack_cases(pack) if not case.is_ambiguous and not case.rules <= set(broken_in(case, pack))
    ]
    assert wrong == []


@ALL
def test_the_corpus_is_large_names_its_sources_and_has_both_kinds(pack: Pack) -> None:
    rows = read_corpus(f"packs/{pack.name}")
    assert len(rows) >= 80
    assert len({row["id"] for row in rows}) == len(rows)
    assert all(row["source"] and row["why"] for row in rows)
    assert min(sum(row["expect"] == kind for row in rows) for kind in ("block", "pass")) >= 40


@pytest.mark.parametrize("name", ["privileged-exec", "schema-change", "secrets", "exfiltration"])
def test_each_rule_is_broken_by_some_call_of_the_corpus(name: str) -> None:
    pack = PACKS[f"{name}@1"]
    broken = {code for case in pack_cases(pack) for code in broken_in(case, pack)}
    assert set(pack.rules) - broken <= {UNCLEAR}


@ALL
def test_every_rule_has_a_stable_code_and_one_plain_sentence(pack: Pack) -> None:
    assert pack.summary
    for code, means in pack.rules.items():
        assert code.replace("_", "").isalnum()
        assert code == code.lower()
        assert "\n" not in means
        assert means


@ALL
def test_a_call_without_arguments_breaks_nothing_but_the_lack_of_a_declaration(pack: Pack) -> None:
    assert set(broken_rules(pack, "tool", {}, NOTHING_DECLARED)) <= {UNDECLARED}


def test_the_destructive_packs_have_the_codes_of_the_readings() -> None:
    assert set(SQL.rules) == {*SQL_RULES, UNDECLARED, UNCLEAR}
    assert set(SHELL.rules) == {*SHELL_RULES, UNDECLARED, UNCLEAR}


def test_broken_rules_stand_in_the_order_of_the_pack() -> None:
    arguments: JsonObject = {"image": "a", "user": "root", "privileged": True, "volumes": ["/:/h"], "pid": "host"}
    broken = broken_rules(PRIVILEGED, "run", arguments, NOTHING_DECLARED)
    assert broken == tuple(code for code in PRIVILEGED.rules if code in broken)
    assert len(broken) == 4


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("destructive-sql@1", ""),
        ("destructive-sql", "lacks its version: destructive-sql@1"),
        ("destructive-sql@2", "has a version that is not in this release, which has destructive-sql@1"),
        ("destructive-sql@01", "has a version that is not in this release, which has destructive-sql@1"),
        ("sql@1", "is no pack; there are "),
        ("", "is no pack; there are "),
    ],
)
def test_a_reference_that_names_no_pack_is_told_what_there_is(reference: str, says: str) -> None:
    assert pack_problem(reference).startswith(says)
    assert bool(pack_problem(reference)) == bool(says)


def test_the_table_for_the_reference_has_every_rule_of_every_pack() -> None:
    table = packs_table()
    for pack in PACKS.values():
        assert f"## {pack.reference}\n" in table
        assert all(f"| `{code}` | {means} |" in table for code, means in pack.rules.items())


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        ({"a": {"b": ["x", "y"]}}, "y"),
        ({"a": {"b": ["x"]}}, MISSING),
        ({"a": {"b": None}}, MISSING),
        ({"a": None}, MISSING),
        ({}, MISSING),
        ({"a": "b"}, UNTOLD),
        ({"a": {"b": "xy"}}, UNTOLD),
        ({"A": {}}, UNTOLD),
        ({"a": {"b": ["x", "y"]}, "A": 1}, UNTOLD),
        ({"a": {"b": ["x", "y"], "B": 1}}, UNTOLD),
        ({"a": {"b": {"1": "z"}}}, "z"),
    ],
)
@pytest.mark.parametrize("last", ["1", 1])
def test_a_declared_argument_is_found_or_missing_or_something_is_in_its_way(
    arguments: JsonObject, found: object, last: str | int
) -> None:
    assert value_at(arguments, ("a", "b", last)) == found


def test_the_kelvin_sign_is_a_k_to_servers_in_go() -> None:
    assert value_at({"\u212aey": "DROP TABLE x"}, ("key",)) is UNTOLD


def test_an_argument_beside_the_declared_one_is_not_looked_at_as_sql() -> None:
    declared = Declared(sql=((("query",), "postgres"),))
    assert broken_rules(SQL, "query", {"query": "SELECT 1", "comment": "DROP TABLE x"}, declared) == ()


def test_no_value_of_the_call_is_in_what_is_told() -> None:
    arguments: JsonObject = {"url": "https://canary-value.webhook.site/x", "key": "canary"}
    assert "canary" not in str(broken_rules(EXFILTRATION, "fetch", arguments, NOTHING_DECLARED))
