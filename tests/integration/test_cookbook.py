"""The policies of examples/policies, as a reader runs them; and that their tests would notice what is taken out."""

import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner, Result

from callgate.cli import main
from callgate.policy.compile import Policy, load_policies
from callgate.policy.scenario import Suite, read_suite, try_out
from callgate.yaml_strict import scan

COOKBOOK: Final = Path(__file__).parents[2] / "examples" / "policies"
RECIPES: Final = sorted(path.parent for path in COOKBOOK.glob("*/policy.test.yaml"))
SCHEMA_LINE: Final = "# yaml-language-server: $schema="

# What issue 4 lets a rule say and a condition ask; each is shown somewhere.
KEYS: Final = frozenset(
    {
        "description", "workloads", "server", "tools", "scopes", "ttl", "limit", "users", "when", "from", "until", "for",
        "between", "shadow", "record", "mask", "unmask", "mask_arguments",
        # Issue 7.
        "approval",
    }
)  # fmt: skip
# And what issue 6 lets a pack say beside.
PACK_KEYS: Final = frozenset({"pack", "except"})
PARTS: Final = frozenset({"any", "issuers", "subjects", "groups", "days", "hours", "zone"})
WORDS: Final = (
    "args.", "caller.path", "caller.trust_domain", "caller.svid_age", "tool.name", "tool.annotations", "request.purpose",
    "request.size", "request.revision", "request.hour", "request.weekday", "now.", "user.subject", "user.claims",
    "history.used(", "history.calls(", "history.denials(", "history.lockout(", "sql(args.", "shell(args.",
)  # fmt: skip
PLACEHOLDERS: Final = ("{args.", "{caller.path[", "{caller.trust_domain}", "{user.subject}", "{request.purpose}")
# What an entry is refused without.
REQUIRED: Final = {
    "grants": {"workloads", "tools"}, "denials": {"tools"}, "tools": {"tools", "tags"}, "screening": {"mask"},
    "packs": {"pack"},
}  # fmt: skip
# What decides nothing; what becomes of base64, of text that deceives and by schemas, no test of a policy expects.
UNSEEN: Final = frozenset({"description", "base64", "text", "schemas"})
# Mutants are made up in a second or two; a recipe with more has grown out of a cookbook.
MAX_MUTANTS: Final = 200


def policy_of(recipe: Path) -> Path:
    """The file or folder that is the recipe's policy."""
    folder = recipe / "policy"
    return folder if folder.is_dir() else recipe / "policy.yaml"


def files_of(recipe: Path) -> list[Path]:
    found = policy_of(recipe)
    return sorted(found.glob("*.yaml")) if found.is_dir() else [found]


def read(path: Path) -> Any:  # noqa: ANN401  # YAML
    document, problems = scan(path.read_text(), str(path))
    assert document is not None, problems
    return document.value


def rules_of(document: Any) -> list[dict[str, Any]]:  # noqa: ANN401  # YAML
    return [*document.get("grants", []), *document.get("denials", []), *document.get("packs", [])]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


per_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=[recipe.name for recipe in RECIPES])


def test_the_cookbook_is_as_large_as_its_table_says() -> None:
    listed = re.findall(r"^\|.*?\[`(\d\d-[a-z-]+)`\]\(\1/\)", (COOKBOOK / "README.md").read_text(), re.MULTILINE)

    assert listed == [recipe.name for recipe in RECIPES]
    assert sorted(path.name for path in COOKBOOK.iterdir() if path.is_dir()) == listed
    assert len(listed) >= 10


@per_recipe
def test_a_recipe_has_no_findings(recipe: Path) -> None:
    result = run("check", "--fail-on", "warning", str(policy_of(recipe)))

    assert (result.exit_code, result.stderr) == (0, ""), result.output


@per_recipe
def test_a_recipe_passes_its_tests_and_they_exercise_each_rule(recipe: Path) -> None:
    result = run("test", "--coverage", "--min-coverage", "100", str(recipe))

    assert (result.exit_code, result.stderr) == (0, ""), result.output
    assert "coverage" in result.stdout


def test_one_command_runs_the_whole_cookbook() -> None:
    command = [sys.executable, "-m", "callgate", "test", "--min-coverage", "100", "examples/policies"]
    done = subprocess.run(command, cwd=COOKBOOK.parents[1], capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count(": 100.0 %") == len(RECIPES)


@per_recipe
def test_a_recipe_tries_the_attack_that_it_is_there_for(recipe: Path) -> None:
    attacks = [each for each in suite_of(recipe).scenarios if "attack" in each.name]

    # What is in shadow stops nothing yet.
    assert any("deny" in (each.expect.decision, each.expect.shadow) for each in attacks)
    assert all("deny" in (each.expect.decision, each.expect.shadow) for each in attacks)


@per_recipe
def test_a_recipe_says_what_it_does_not_protect_against(recipe: Path) -> None:
    assert any("# Not protected against" in file.read_text() for file in files_of(recipe))


@per_recipe
def test_editors_find_the_schema_of_each_file(recipe: Path) -> None:
    for file in recipe.glob("**/*.yaml"):
        first = file.read_text().partition("\n")[0]
        name = "policy-test.schema.json" if file.name.endswith(".test.yaml") else "policy.schema.json"
        assert first.startswith(SCHEMA_LINE)
        assert (file.parent / first.removeprefix(SCHEMA_LINE)).resolve().name == name
        assert (file.parent / first.removeprefix(SCHEMA_LINE)).is_file()


def test_the_cookbook_shows_every_key_of_a_rule() -> None:
    rules = [rule for recipe in RECIPES for file in files_of(recipe) for rule in rules_of(read(file))]

    assert {key for rule in rules for key in rule} == KEYS | PACK_KEYS | {"id"}
    assert any("screening" in read(file) for recipe in RECIPES for file in files_of(recipe))
    assert {part for rule in rules for key in ("users", "between") for part in rule.get(key, {})} == PARTS
    assert any("tools" in read(file) for recipe in RECIPES for file in files_of(recipe))
    assert any(len(files_of(recipe)) > 1 for recipe in RECIPES)


def test_the_cookbook_shows_what_conditions_and_scopes_can_ask() -> None:
    rules = [rule for recipe in RECIPES for file in files_of(recipe) for rule in rules_of(read(file))]
    conditions = "\n".join(rule["when"] for rule in rules if "when" in rule)
    scopes = "\n".join(scope for rule in rules for scope in rule.get("scopes", ()))

    assert [word for word in WORDS if word not in conditions] == []
    assert [word for word in PLACEHOLDERS if word not in scopes] == []


def test_check_warns_of_the_break_glass_rule_when_its_hours_are_over() -> None:
    policy = COOKBOOK / "05-break-glass" / "policy.yaml"

    result = run("check", "--fail-on", "warning", "--at", "2036-03-01T11:00:00Z", str(policy))
    assert result.exit_code == 1
    assert "CG207 grant 'incident-4711' ended 2036-03-01T11:00:00Z" in result.stderr


@dataclass(frozen=True, slots=True)
class Mutant:
    """A policy with something taken out, as (name, text) of its files."""

    what: str
    files: tuple[tuple[str, str], ...]


def suite_of(recipe: Path) -> Suite:
    path = recipe / "policy.test.yaml"
    suite = read_suite(path.read_text(), str(path))
    assert isinstance(suite, Suite)
    return suite


def mutants_of(recipe: Path) -> Iterator[Mutant]:
    """Everything that one could take out of a policy and still have one."""
    documents = {file.name: read(file) for file in files_of(recipe)}
    for name, document in documents.items():
        for kind in ("tools", "screening", "packs", "grants", "denials"):
            for index, entry in enumerate(document.get(kind, [])):
                for what, others in shorter(entry, kind):
                    changed = deepcopy(document)
                    changed[kind][index : index + 1] = others
                    files = {**documents, name: changed}
                    # JSON is YAML, and the same in each reading.
                    texts = tuple((file, json.dumps(each)) for file, each in files.items())
                    yield Mutant(f"{name}: {kind} {entry.get('id', index)} without {what}", texts)


def shorter(entry: dict[str, Any], kind: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """What is left of an entry of a policy after something was taken out of it, and what that was."""
    yield "itself", []
    # What a grant in shadow would write into a token, nothing tells.
    unseen = UNSEEN | ({"scopes"} if "shadow" in entry else set())
    for key in entry.keys() - unseen - {"id", "server"}:
        if key == "from" and "for" in entry:
            yield "from", [{name: value for name, value in entry.items() if name not in {"from", "for"}}]
        elif key not in REQUIRED[kind]:
            yield key, [{name: value for name, value in entry.items() if name != key}]
    for key, less in parts_less(entry):
        yield f"more of {key} than {less}", [{**entry, key: less}]


def parts_less(entry: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for key in ("workloads", "tools", "scopes", "tags", "mask", "unmask", "mask_arguments"):
        yield from ((key, less) for less in lists_less(entry.get(key, [])))
    for key in ("users", "between", "except"):
        written = entry.get(key, {})
        for part, value in written.items():
            rest = {name: other for name, other in written.items() if name != part}
            if rest.keys() - {"zone"}:
                yield key, rest
            for less in lists_less(value) if isinstance(value, list) else ():
                yield key, rest | {part: less}
    for operator in ("&&", "||"):
        terms = top_level(entry.get("when", ""), operator)
        yield from (("when", f" {operator} ".join(less)) for less in lists_less(terms))


def lists_less(items: list[Any]) -> Iterable[list[Any]]:
    """The list without each of its items; none for a list of one, which has to hold something."""
    return (items[:index] + items[index + 1 :] for index in range(len(items))) if len(items) > 1 else ()


def top_level(condition: str, operator: str) -> list[str]:
    """The terms that an operator joins; good enough for conditions without brackets or quotes around an operator."""
    terms = re.split(rf"\s+{re.escape(operator)}\s+", condition.strip())
    return terms if all(term.count("(") == term.count(")") for term in terms) else [condition]


def killed(mutant: Mutant, suite: Suite) -> bool:
    """Whether the suite fails for it, or no gate would take it."""
    policy = load_policies(mutant.files, None)
    return not isinstance(policy, Policy) or any(not try_out(policy, each).passed for each in suite.scenarios)


@per_recipe
def test_a_recipes_tests_notice_whatever_is_taken_out_of_it(recipe: Path) -> None:
    suite, mutants = suite_of(recipe), list(mutants_of(recipe))

    whole = Mutant("nothing", tuple((file.name, json.dumps(read(file))) for file in files_of(recipe)))
    assert not killed(whole, suite)
    assert len(mutants) < MAX_MUTANTS
    assert [mutant.what for mutant in mutants if not killed(mutant, suite)] == []
