"""The parts of a policy file that are about screening: what is taken, and what is told of what is not."""

import pytest

from callgate.policy.compile import Policy, load_policies, load_policy
from callgate.screening.packs import PACKS

HEAD = "version: 1\ntrust_domains: [acme.test]\n"
GRANT = (
    HEAD + 'grants:\n  - id: g\n    workloads: ["spiffe://acme.test/*"]\n    server: crm\n    tools: [get]\n    {}\n'
)
SCREENING = HEAD + "screening:\n  - server: crm\n    {}\n"
TOOLS = HEAD + "tools:\n  - server: db\n    tools: [query]\n    {}\n"
PACK = HEAD + "packs:\n  - server: db\n    {}\n"


def problems(text: str, servers: frozenset[str] | None = None) -> list[str]:
    found = load_policy(text, "p.yaml", servers)
    return [] if isinstance(found, Policy) else [str(problem) for problem in found]


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        (
            GRANT,
            "mask: [emial]",
            "p.yaml:8:12: mask[0] 'emial' is no entity and no group of them; did you mean 'email'?",
        ),
        (
            GRANT,
            "mask: [email, personel]",
            "p.yaml:8:19: mask[1] 'personel' is no entity and no group of them; did you",
        ),
        (GRANT, "mask: []", "p.yaml:8:11: mask must not be an empty list"),
        (GRANT, "mask: [5]", "p.yaml:8:12: mask[0] must be the name of an entity, or a mapping such as"),
        (GRANT, "mask: email", "p.yaml:8:11: mask must be a list, not the text 'email'"),
        (
            GRANT,
            "mask: [{entity: crad}]",
            "p.yaml:8:21: entity 'crad' is no entity and no group of them; did you mean 'card'?",
        ),
        (GRANT, "mask: [{entity: card, mode: hold}]", "p.yaml:8:33: mode hold is for mask_arguments alone"),
        (SCREENING, "mask: [{entity: card, mode: hold}]", "p.yaml:5:33: mode hold is for mask_arguments alone"),
        (
            GRANT,
            "mask_arguments: [{entity: card, mode: wait}]",
            "p.yaml:8:43: mode must be 'redact', 'partial', 'pseudonym', 'drop', 'deny' or 'hold'",
        ),
        (
            GRANT,
            "mask: [{entity: card, mode: mask}]",
            "p.yaml:8:33: mode must be 'redact', 'partial', 'pseudonym', 'drop' or 'deny'",
        ),
        (
            GRANT,
            "mask: [{mode: drop}]",
            "p.yaml:8:12: mask[0] must have one of 'entity', 'pattern', 'key' and 'pointer'",
        ),
        (
            GRANT,
            "mask: [{entity: card, key: x}]",
            "p.yaml:8:12: mask[0] must have one of 'entity', 'pattern', 'key' and",
        ),
        (
            GRANT,
            "mask: [{entity: card, name: x}]",
            "p.yaml:8:12: mask[0] must not have a name: an entity is called 'card'",
        ),
        (GRANT, "mask: [{pattern: x+}]", "p.yaml:8:12: mask[0] needs a name, which its finds are counted as"),
        (GRANT, "mask: [{pointer: /a}]", "p.yaml:8:12: mask[0] needs a name, which its finds are counted as"),
        (GRANT, "mask: [{key: a b}]", "p.yaml:8:12: mask[0] needs a name, which its finds are counted as"),
        (GRANT, "mask: [{key: all}]", "p.yaml:8:12: mask[0] needs a name: 'all' is a group of entities"),
        (GRANT, "mask: [{key: a, name: all}]", "p.yaml:8:27: name must not be 'all': that is a group of entities"),
        (GRANT, "mask: [{key: a, name: a b}]", "p.yaml:8:27: name must be 1 to 63 letters, digits"),
        (GRANT, "mask: [{kee: a}]", "p.yaml:8:13: unknown key 'kee'; did you mean 'key'?"),
        (GRANT, "mask: [{pattern: '(', name: x}]", "p.yaml:8:22: pattern "),
        (GRANT, "mask: [{pattern: 'a*', name: x}]", "p.yaml:8:22: pattern "),
        (GRANT, "mask: [{pattern: '(?<=a)b', name: x}]", "p.yaml:8:22: pattern "),
        (GRANT, "mask: [{pointer: customer, name: x}]", "p.yaml:8:22: pointer must be a JSON pointer (RFC 6901)"),
        (GRANT, "mask: [{pointer: /a~2, name: x}]", "p.yaml:8:22: pointer must be a JSON pointer (RFC 6901)"),
        (GRANT, "mask: [{pointer: '', name: x}]", "p.yaml:8:22: pointer must be a JSON pointer (RFC 6901)"),
        (
            GRANT,
            "unmask: [emial]",
            "p.yaml:8:14: unmask[0]: nothing that is masked is called 'emial'; did you mean 'email'?",
        ),
        (GRANT, "unmask: [a b]", "p.yaml:8:14: unmask[0] must be 1 to 63 letters, digits"),
        (GRANT, "umask: [email]", "p.yaml:8:5: unknown key 'umask'; did you mean 'unmask'?"),
        (
            SCREENING,
            "tools: ['*']",
            "p.yaml:4:5: screening[0] must have 'mask', 'mask_arguments', 'base64', 'text' or 'schemas'",
        ),
        (SCREENING, "base64: strip", "p.yaml:5:13: base64 must be 'pass', 'screen' or 'deny'"),
        (SCREENING, "text: {results: screen}", "p.yaml:5:21: results must be 'strip', 'deny' or 'pass'"),
        (SCREENING, "text: {}", "p.yaml:5:11: text must have 'definitions' or 'results'"),
        (SCREENING, "schemas: always", "p.yaml:5:14: schemas must be 'off', 'known' or 'required'"),
        (SCREENING, "unmask: [email]", "p.yaml:5:5: unknown key 'unmask'"),
        (TOOLS, "", "p.yaml:4:5: tools[0] must have 'tags', 'sql' or 'shell'"),
        (TOOLS, "sql: {query: postgre}", "p.yaml:6:18: query 'postgre' is no dialect; there are"),
        (TOOLS, "sql: {/a~: postgres}", "p.yaml:6:11: /a~ must be a JSON pointer (RFC 6901)"),
        (TOOLS, "sql: [query]", "p.yaml:6:10: sql must be a mapping of keys to values"),
        (TOOLS, "sql: {}", "p.yaml:6:10: sql must not be empty"),
        (TOOLS, "shell: {command: zsh}", "p.yaml:6:22: command must be 'bash' or 'argv'"),
        (PACK, "pack: destructive-sql", "p.yaml:5:11: pack "),
        (PACK, "pack: destructive-sqll@1", "p.yaml:5:11: pack "),
        (PACK, "pack: destructive-sql@2", "p.yaml:5:11: pack "),
        (PACK, "id: x", "p.yaml:4:5: key 'pack' is missing in packs[0]"),
        (PACK, "pack: secrets@1\n    except: {}", "p.yaml:6:13: except must have 'rules', 'tools' or 'workloads'"),
        (PACK, "scopes: [a]\n    pack: secrets@1", "p.yaml:5:5: unknown key 'scopes'"),
    ],
)
def test_a_mistake_is_told_with_its_place(text: str, line: str, problem: str) -> None:
    found = problems(text.format(line))

    assert found
    assert found[0].startswith(problem)


def test_a_mistake_in_a_pack_suggests_the_one_that_was_meant() -> None:
    (problem,) = problems(PACK.format("pack: destructive-sqll@1"))

    assert problem.endswith("; did you mean 'destructive-sql@1'?")


def test_all_mistakes_are_told_at_once() -> None:
    text = (
        GRANT.format("mask: [emial, {entity: card, mode: hold}]\n    unmask: [nothing]")
        + "screening:\n  - {server: crm}\n"
    )

    assert [problem.split(":")[1] for problem in problems(text)] == ["8", "8", "9", "11"]


def test_rules_that_a_pack_does_not_have_cannot_be_left_out() -> None:
    (problem,) = problems(PACK.format("pack: destructive-sql@1\n    except: {rules: [unclear, uncleer]}"))

    assert problem == ("p.yaml:6:31: rules[1]: destructive-sql@1 has no rule 'uncleer'; did you mean 'unclear'?")


def test_workloads_that_are_left_out_are_of_a_trust_domain_that_is_listed() -> None:
    (problem,) = problems(PACK.format("pack: secrets@1\n    except: {workloads: ['spiffe://other.test/a']}"))

    assert "is in trust domain 'other.test', which trust_domains does not list" in problem


@pytest.mark.parametrize(
    "text", [SCREENING.format("mask: [email]"), TOOLS.format("tags: [a]"), PACK.format("pack: secrets@1")]
)
def test_a_server_that_is_not_configured_is_a_mistake(text: str) -> None:
    (problem,) = problems(text, frozenset({"crmm"}))

    assert "is not configured" in problem


def test_a_pack_without_an_id_is_called_by_its_server_and_its_name() -> None:
    policy = load_policy(PACK.format("pack: destructive-sql@1"), "p.yaml")

    assert isinstance(policy, Policy)
    assert [rule.id for rule in policy.rules["db"]] == ["db-destructive-sql"]


def test_ids_are_unique_over_grants_denials_and_packs() -> None:
    twice = PACK.format("pack: secrets@1") + "  - {pack: secrets@1, server: db}\n"
    (problem,) = problems(twice)
    assert problem.startswith("p.yaml:6:")
    assert problem.endswith("id 'db-secrets' is used twice; the first is in line 4")

    denial = PACK.format("pack: secrets@1") + "denials: [{id: db-secrets, server: db, tools: [x]}]\n"
    assert len(problems(denial)) == 1
    files = (("1.yaml", PACK.format("pack: secrets@1")), ("2.yaml", PACK.format("pack: secrets@1")))
    found = load_policies(files)
    assert not isinstance(found, Policy)
    assert [problem.message for problem in found] == ["id 'db-secrets' is used twice; the first is in 1.yaml"]


def test_a_name_too_long_to_be_an_id_needs_one() -> None:
    text = PACK.format("pack: destructive-sql@1").replace("server: db", f"server: {'d' * 60}")

    (problem,) = problems(text)
    assert "needs an id" in problem


def test_names_of_masks_in_another_file_can_be_unmasked() -> None:
    masks = SCREENING.format("mask: [{key: note}, {pattern: x, name: employee}]")
    grant = GRANT.format("unmask: [note, employee]")

    assert isinstance(load_policies((("1.yaml", grant), ("2.yaml", masks))), Policy)
    assert isinstance(load_policies((("1.yaml", masks), ("2.yaml", grant))), Policy)
    assert not isinstance(load_policies((("1.yaml", grant),)), Policy)


@pytest.mark.parametrize("reference", PACKS)
def test_every_pack_can_be_switched_on(reference: str) -> None:
    assert problems(PACK.format(f"pack: {reference}")) == []


@pytest.mark.parametrize("pattern", ["EMP-[0-9]{6}", r"\bKD\d+", "(?i)internal"])
def test_patterns_are_those_of_re2(pattern: str) -> None:
    assert problems(GRANT.format(f"mask: [{{pattern: '{pattern}', name: x}}]")) == []
