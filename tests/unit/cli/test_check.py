from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from callgate.cli import main
from callgate.cli.check import check
from callgate.cli.files import FileProblems, open_files

QUICKSTART = Path(__file__).parents[3] / "examples" / "quickstart"
CONFIG = """\
listen: 127.0.0.1:8443
issuer: https://gate.acme.test
policy: rules/policy.yaml
servers:
  ledger: {url: https://ledger.acme.test/mcp}
  mail: {url: https://mail.acme.test/mcp}
audit: {folder: audit}
"""
POLICY = """\
version: 1
trust_domains: [acme.test]
grants:
  - {id: a, workloads: ["spiffe://acme.test/**"], server: ledger, tools: [get]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "rules").mkdir()
    (tmp_path / "callgate.yaml").write_text(CONFIG)
    (tmp_path / "rules" / "policy.yaml").write_text(POLICY)
    return tmp_path


def run(path: Path) -> Result:
    return CliRunner().invoke(check, ["-c", str(path)])


def refused(*problems: str) -> str:
    """What is printed for files with these problems, each `place: message`."""
    lines = (problem.replace(": ", ": error CG001 ", 1) for problem in problems)
    return "\n".join([*lines, "1 error" if len(problems) == 1 else f"{len(problems)} errors", ""])


def test_accepts_the_quickstart() -> None:
    result = run(QUICKSTART / "callgate.yaml")

    digest = sha256((QUICKSTART / "policy.yaml").read_bytes()).hexdigest()
    assert result.exit_code == 0
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        f"{QUICKSTART}/callgate.yaml: 1 server (ledger)",
        f"{QUICKSTART}/policy.yaml: 3 grants, 1 denial, digest sha256:{digest}",
    ]


def test_finds_the_policy_beside_the_configuration(folder: Path) -> None:
    result = run(folder / "callgate.yaml")

    assert result.exit_code == 0
    assert "2 servers (ledger, mail)" in result.stdout
    assert f"{folder}/rules/policy.yaml: 1 grant, 0 denials" in result.stdout


def test_takes_an_absolute_policy_path(folder: Path) -> None:
    policy = folder / "rules" / "policy.yaml"
    (folder / "callgate.yaml").write_text(CONFIG.replace("rules/policy.yaml", str(policy)))

    assert run(folder / "callgate.yaml").exit_code == 0


def test_reads_callgate_yaml_of_the_working_folder_by_default(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)

    result = CliRunner().invoke(main, ["check"])

    assert result.exit_code == 0
    assert result.stdout.startswith("callgate.yaml: 2 servers")


def test_tells_of_the_mistakes_in_both_files_at_once(folder: Path) -> None:
    (folder / "callgate.yaml").write_text(CONFIG.replace("127.0.0.1:8443", "8443").replace("issuer", "isuer"))
    (folder / "rules" / "policy.yaml").write_text(POLICY.replace("ledger", "legder").replace("[get]", "[]"))

    result = run(folder / "callgate.yaml")

    config, policy = folder / "callgate.yaml", folder / "rules" / "policy.yaml"
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr == refused(
        f"{config}:1:1: key 'issuer' is missing",
        f"{config}:1:9: listen must be an address and a port, as in 0.0.0.0:8443 or '[::]:8443'",
        f"{config}:2:1: unknown key 'isuer'; did you mean 'issuer'?",
        f"{policy}:4:59: server 'legder' is not configured; did you mean 'ledger'?",
        f"{policy}:4:74: tools must not be an empty list",
    )


def test_tells_of_the_policy_alone_when_the_configuration_is_good(folder: Path) -> None:
    (folder / "rules" / "policy.yaml").write_text(POLICY + "    when: true\n")

    result = run(folder / "callgate.yaml")

    assert result.exit_code == 1
    assert result.stderr.endswith("\n1 error\n")
    assert result.stderr.count("\n") == 2
    assert result.stderr.startswith(f"{folder}/rules/policy.yaml:5:")


def test_tells_of_the_configuration_alone_when_it_names_no_policy(folder: Path) -> None:
    (folder / "callgate.yaml").write_text(CONFIG.replace("policy: rules/policy.yaml\n", ""))

    assert run(folder / "callgate.yaml").stderr == refused(f"{folder}/callgate.yaml:1:1: key 'policy' is missing")


def test_a_good_policy_adds_nothing_to_the_mistakes_in_the_configuration(folder: Path) -> None:
    (folder / "callgate.yaml").write_text(CONFIG + "x: 1\n")

    assert run(folder / "callgate.yaml").stderr == refused(f"{folder}/callgate.yaml:8:1: unknown key 'x'")


def test_says_that_the_configuration_is_missing(tmp_path: Path) -> None:
    result = run(tmp_path / "callgate.yaml")

    assert result.exit_code == 1
    assert result.stderr == refused(f"{tmp_path}/callgate.yaml: cannot be read: No such file or directory")


def test_says_that_the_policy_is_missing(folder: Path) -> None:
    (folder / "rules" / "policy.yaml").unlink()

    result = run(folder / "callgate.yaml")

    assert result.exit_code == 1
    assert result.stderr == refused(f"{folder}/rules/policy.yaml: cannot be read: No such file or directory")


def test_takes_a_folder_of_policy_files(folder: Path) -> None:
    (folder / "callgate.yaml").write_text(CONFIG.replace("rules/policy.yaml", "rules"))
    (folder / "rules" / "more.yml").write_text(POLICY.replace("id: a", "id: b").replace("ledger", "mail"))

    assert f"{folder}/rules: 2 grants, 0 denials" in run(folder / "callgate.yaml").stdout


def test_says_that_a_folder_holds_no_policy(folder: Path) -> None:
    (folder / "callgate.yaml").write_text(CONFIG.replace("rules/policy.yaml", "rules"))
    (folder / "rules" / "policy.yaml").rename(folder / "rules" / ".policy.yaml")

    assert run(folder / "callgate.yaml").stderr == refused(f"{folder}/rules: holds no policy file (*.yaml, *.yml)")


def test_tells_of_the_mistakes_in_the_policy_in_shadow_too(folder: Path) -> None:
    (folder / "callgate.yaml").write_text(CONFIG + "shadow_policy: [rules, next.yaml]\n")
    (folder / "rules" / "policy.yaml").write_text(POLICY.replace("ledger", "legder"))

    places = [line.partition(": ")[0] for line in run(folder / "callgate.yaml").stderr.splitlines()[:-1]]
    wrong = f"{folder}/rules/policy.yaml:4:59"
    assert places == [wrong, f"{folder}/next.yaml", wrong]


def test_says_that_a_path_cannot_be_one(folder: Path) -> None:
    (folder / "callgate.yaml").write_text(CONFIG.replace("rules/policy.yaml", "x" * 300))

    assert "cannot be read: File name too long" in run(folder / "callgate.yaml").stderr


def test_says_where_a_file_is_not_utf8(folder: Path) -> None:
    (folder / "rules" / "policy.yaml").write_bytes(POLICY.encode() + b"# \xff\n")

    assert run(folder / "callgate.yaml").stderr == refused(f"{folder}/rules/policy.yaml:5:3: is not UTF-8 here")


def test_reads_no_more_than_the_limit_of_a_file_without_end(folder: Path) -> None:
    (folder / "callgate.yaml").write_text(CONFIG.replace("rules/policy.yaml", "/dev/zero"))

    assert run(folder / "callgate.yaml").stderr == refused("/dev/zero: is not a regular file")
    assert run(Path("/dev/zero")).stderr == refused("/dev/zero: is larger than 1048576 bytes")


AUDITOR = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
FULL = POLICY.replace("tools: [get]", "tools: [get], record: full")


def test_a_grant_that_records_in_full_is_a_mistake_where_nobody_could_read_it(folder: Path) -> None:
    (folder / "rules" / "policy.yaml").write_text(FULL)

    assert run(folder / "callgate.yaml").stderr == refused(
        f"{folder}/rules/policy.yaml:4:89: record: full needs somebody who can read it, and audit.recipients of "
        "callgate.yaml names nobody"
    )
    with pytest.raises(FileProblems):
        open_files(folder / "callgate.yaml")


def test_a_grant_that_records_in_full_is_good_where_an_auditor_is_named(folder: Path) -> None:
    (folder / "rules" / "policy.yaml").write_text(FULL)
    (folder / "auditors.txt").write_text(f"# the auditors\n\n{AUDITOR}\n")
    for recipients in (AUDITOR, "auditors.txt"):
        config = CONFIG.replace("{folder: audit}", f"{{recipients: [{recipients}]}}")
        (folder / "callgate.yaml").write_text(config)

        assert run(folder / "callgate.yaml").exit_code == 0


def test_a_policy_that_is_given_by_itself_is_checked_against_the_recipients_of_the_configuration(folder: Path) -> None:
    (folder / "next.yaml").write_text(FULL)

    alone = CliRunner().invoke(check, [str(folder / "next.yaml")])
    against = CliRunner().invoke(check, ["-c", str(folder / "callgate.yaml"), str(folder / "next.yaml")])

    assert (alone.exit_code, against.exit_code) == (0, 1)
    assert "record: full needs somebody who can read it" in against.stderr


@pytest.mark.parametrize("named", ["nowhere.txt", AUDITOR.replace("ql3z", "qlz3")])
def test_recipients_that_nothing_can_be_encrypted_to_are_found_before_the_first_call(folder: Path, named: str) -> None:
    config = CONFIG.replace("{folder: audit}", f"{{recipients: [{named}]}}")
    (folder / "callgate.yaml").write_text(config)

    assert run(folder / "callgate.yaml").stderr.startswith(f"{folder}/callgate.yaml: error CG001 audit.recipients: ")


def test_a_refused_configuration_does_not_hide_that_nobody_could_read_what_a_grant_records(folder: Path) -> None:
    (folder / "callgate.yaml").write_text(CONFIG + "x: 1\n")
    (folder / "rules" / "policy.yaml").write_text(FULL)

    found = run(folder / "callgate.yaml").stderr

    assert "unknown key 'x'" in found
    assert "record: full needs somebody" in found


def test_gives_serve_the_same_files(folder: Path) -> None:
    files = open_files(folder / "callgate.yaml")

    assert list(files.config.servers) == ["ledger", "mail"]
    assert files.policy.current.count("grant") == 1


def test_gives_serve_the_same_problems(folder: Path) -> None:
    (folder / "callgate.yaml").write_text("listen: 1\n")

    with pytest.raises(FileProblems) as raised:
        open_files(folder / "callgate.yaml")

    assert raised.value.exit_code == 1
    assert len(raised.value.problems) == 5
