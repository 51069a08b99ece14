"""`callgate audit verify`, `prove` and `check`."""

import json
from pathlib import Path

import orjson
import pytest
from click.testing import CliRunner, Result

from callgate.audit.checkpoint import Checkpoint
from callgate.audit.places import Places, segment_name
from callgate.audit.proof import Proof
from callgate.cli import main
from callgate.cli.audit import audit
from callgate.cli.audit_report import proof_words
from support.tampering import KEY, OTHER_KEY, LogFiles, made_log


def run(*args: str | Path, given: str | bytes | None = None) -> Result:
    return CliRunner().invoke(audit, [str(arg) for arg in args], input=given)


@pytest.fixture
def files() -> LogFiles:
    return LogFiles.of(made_log(30), segment_records=10, every=4)


@pytest.fixture
def pub(tmp_path: Path) -> Path:
    (tmp_path / "key.pub").write_text(f"{KEY.vkey}\n")
    return tmp_path / "key.pub"


def test_the_commands_are_callgates() -> None:
    shown = CliRunner().invoke(main, ["audit", "--help"]).output

    assert all(name in shown for name in ("init", "verify", "prove", "check", "key", "auditor-key"))


class TestVerify:
    def test_says_what_is_proved_and_what_is_not_and_exits_0(self, files: LogFiles, tmp_path: Path, pub: Path) -> None:
        result = run("verify", files.write(tmp_path / "audit"), "--key", pub)

        assert result.exit_code == 0
        assert result.stderr == ""
        assert result.stdout.startswith("whole: gate.acme.test/audit\n")
        assert (
            f"  {files.size} records in {len(files.segments)} files, from 2026-01-07T12:00:00.050000000Z"
            in result.stdout
        )
        assert (
            f"proved: records 0 to {files.size - 1} are what the holder of the key signed (17 checkpoints"
            in result.stdout
        )
        assert "not proved: that nothing is cut off at the end" in result.stdout

    def test_tells_each_finding_at_its_line_and_exits_1(self, files: LogFiles, tmp_path: Path, pub: Path) -> None:
        files.edit(13, caller="spiffe://acme.test/else")
        folder = files.write(tmp_path / "audit")
        result = run("verify", folder, "--key", pub)

        assert result.exit_code == 1
        place = Path(Places(folder).log) / segment_name(10)
        assert result.stdout.startswith(f"{place}:4: edited: record 13 is not what was recorded: it was edited\n")
        assert "NOT WHOLE, 1 finding: gate.acme.test/audit" in result.stdout

    def test_takes_the_key_itself_and_checkpoints_that_were_kept(self, files: LogFiles, tmp_path: Path) -> None:
        folder = files.write(tmp_path / "audit")
        kept = Path(Places(folder).checkpoint).rename(tmp_path / "kept")
        other = tmp_path / "other"
        other.write_text(files.notes[0][0])
        result = run("verify", folder, "--key", KEY.vkey, "--checkpoint", kept, "--checkpoint", other)

        assert result.exit_code == 0
        assert f"proved: {files.size} records or more were there when" in result.stdout
        assert "cut off" not in result.stdout

    def test_json_has_it_all(self, files: LogFiles, tmp_path: Path, pub: Path) -> None:
        files.edit(13, caller="spiffe://acme.test/else")
        folder = files.write(tmp_path / "audit")
        result = run("verify", folder, "--key", pub, "--format", "json")
        said = json.loads(result.stdout)

        assert result.exit_code == 1
        assert (said["version"], said["whole"], said["records"]) == (1, False, files.size)
        assert said["confirmed"] == {"records": files.size, "by_kept": 0}
        (finding,) = said["findings"]
        assert (finding["code"], finding["first"], finding["last"], finding["line"]) == ("edited", 13, 13, 4)

    def test_names_of_files_move_no_cursor(self, files: LogFiles, tmp_path: Path, pub: Path) -> None:
        folder = files.write(tmp_path / "a\x1b[2Jb")
        (Path(Places(folder).log) / segment_name(10)).unlink()
        (Path(Places(folder).log) / segment_name(10)).mkdir()
        (Path(Places(folder).log) / "x\x1b[31m\udcff").touch()
        text = run("verify", folder, "--key", pub).stdout
        as_json = run("verify", folder, "--key", pub, "--format", "json").stdout

        assert "\x1b" not in text + as_json
        assert {"not_a_file", "missing"} == {each["code"] for each in json.loads(as_json)["findings"]}

    @pytest.mark.parametrize(
        ("key", "words"),
        [
            ("nothing", "No such file"),
            ("a b+c", "No such file"),
            (KEY.vkey[:-4], "was it cut?"),
            (KEY.vkey[:-3], "not a verifier key"),
            (KEY.vkey.replace("+AQ", "+AG"), "of another kind than Ed25519"),
            (KEY.vkey.replace("acme", "evil"), "was it cut or edited?"),
        ],
    )
    def test_a_key_that_is_none_is_a_wrong_command_line(
        self, files: LogFiles, tmp_path: Path, key: str, words: str
    ) -> None:
        result = run("verify", files.write(tmp_path / "audit"), "--key", key)

        assert result.exit_code == 2
        assert words in result.stderr

    def test_a_key_file_may_have_comments_and_no_second_key(self, files: LogFiles, tmp_path: Path, pub: Path) -> None:
        folder = files.write(tmp_path / "audit")
        pub.write_text(f"# of the gate in Berlin\n\n{KEY.vkey}\n")
        assert run("verify", folder, "--key", pub).exit_code == 0

        pub.write_text(f"{KEY.vkey}\n{OTHER_KEY.vkey}\n")
        assert run("verify", folder, "--key", pub).exit_code == 2

    def test_the_private_key_is_no_verifier_key_and_is_not_shown(self, files: LogFiles, tmp_path: Path) -> None:
        (tmp_path / "key.pem").write_bytes(KEY.pem())
        result = run("verify", files.write(tmp_path / "audit"), "--key", tmp_path / "key.pem")

        assert result.exit_code == 2
        assert KEY.pem().decode().splitlines()[1] not in result.output

    def test_what_cannot_be_looked_at_exits_2(self, files: LogFiles, tmp_path: Path, pub: Path) -> None:
        folder = files.write(tmp_path / "audit")
        nothing = run("verify", tmp_path / "nothing", "--key", pub)
        empty = run("verify", folder, "--key", pub, "--checkpoint", "/dev/null")

        assert (nothing.exit_code, empty.exit_code) == (2, 2)
        assert "there is no log to read" in nothing.stderr
        assert "holds no checkpoint" in empty.stderr


class TestProve:
    def test_what_it_writes_is_checked_without_the_log(self, files: LogFiles, tmp_path: Path, pub: Path) -> None:
        folder = files.write(tmp_path / "audit")
        written = run("prove", "13", "--log", folder, "--key", pub, "-o", tmp_path / "proof")
        line = files.lines[13]
        for path in folder.rglob("*.jsonl"):
            path.unlink()
        checked = run("check", tmp_path / "proof", "--key", pub, "--format", "json")

        assert written.exit_code == checked.exit_code == 0
        assert written.stdout == ""
        assert "record 13 of gate.acme.test/audit, proved under 16 records" in written.stderr
        assert checked.stdout_bytes == line + b"\n"

    def test_a_decision_is_found_by_the_beginning_of_its_id(self, files: LogFiles, tmp_path: Path, pub: Path) -> None:
        folder = files.write(tmp_path / "audit")
        intent, outcome = (orjson.loads(files.lines[number]) for number in (13, 14))
        assert (intent["kind"], outcome["kind"], outcome["intent"]) == ("intent", "outcome", 13)
        written = run("prove", intent["decision"][:8], "--log", folder, "--key", pub)

        assert written.exit_code == 0
        assert "its outcome is record 14: callgate audit prove 14" in written.stderr
        assert (
            run("check", "-", "--key", pub, "--format", "json", given=written.stdout).stdout_bytes
            == files.lines[13] + b"\n"
        )

    def test_an_id_of_digits_alone_is_a_number_only_where_there_is_such_a_record(
        self, tmp_path: Path, pub: Path
    ) -> None:
        made = made_log(5)
        decision = made.call(decision="9876" * 8)
        folder = LogFiles.of(made, segment_records=100, every=4).write(tmp_path / "audit")

        assert run("prove", decision[:6], "--log", folder, "--key", pub).exit_code == 0
        assert "there is no record 98" in run("prove", "98", "--log", folder, "--key", pub).stderr

    def test_the_key_beside_the_log_is_taken_where_none_is_given(self, files: LogFiles, tmp_path: Path) -> None:
        folder = files.write(tmp_path / "audit")
        without = run("prove", "13", "--log", folder)
        (folder / "key.pub").write_text(KEY.vkey)

        assert without.exit_code == 2
        assert "name the verifier key by --key" in without.stderr
        assert run("prove", "13", "--log", folder).exit_code == 0

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ("5000", "there is no record 5000"),
            ("abcdef", "has no decision abcdef"),
            ("x", "4 to 32 hexadecimal digits"),
            ("-", "4 to 32 hexadecimal digits"),
        ],
    )
    def test_what_is_not_there_exits_2(
        self, files: LogFiles, tmp_path: Path, pub: Path, given: str, words: str
    ) -> None:
        result = run("prove", given, "--log", files.write(tmp_path / "audit"), "--key", pub)

        assert result.exit_code == 2
        assert words in result.stderr
        assert result.stdout == ""

    def test_a_log_that_was_changed_proves_nothing(self, files: LogFiles, tmp_path: Path, pub: Path) -> None:
        files.edit(13, caller="spiffe://acme.test/else")
        result = run("prove", "13", "--log", files.write(tmp_path / "audit"), "--key", pub)

        assert result.exit_code == 2
        assert "callgate audit verify tells more" in result.stderr

    def test_a_file_that_cannot_be_written_exits_1(self, files: LogFiles, tmp_path: Path, pub: Path) -> None:
        folder = files.write(tmp_path / "audit")
        result = run("prove", "13", "--log", folder, "--key", pub, "-o", tmp_path / "nothing" / "proof")

        assert result.exit_code == 1
        assert "cannot write" in result.stderr


class TestCheck:
    @pytest.fixture
    def proof(self, files: LogFiles, tmp_path: Path, pub: Path) -> str:
        return run("prove", "13", "--log", files.write(tmp_path / "audit"), "--key", pub).stdout

    def test_shows_the_record_that_is_proved(self, proof: str, pub: Path) -> None:
        result = run("check", "-", "--key", pub, given=proof)

        assert result.exit_code == 0
        assert result.stdout.startswith(
            "proved: this is record 13 of gate.acme.test/audit, one of the first 16 (tree head "
        )
        assert '"caller": "spiffe://acme.test/ns/billing/sa/agent"' in result.stdout

    @pytest.mark.parametrize(
        ("old", "new"), [("index 13", "index 12"), ("extra e", "extra f"), ("\n16\n", "\n17\n"), ("tlog-proof@v1", "x")]
    )
    def test_shows_nothing_where_nothing_is_proved_and_exits_1(self, proof: str, pub: Path, old: str, new: str) -> None:
        assert old in proof
        result = run("check", "-", "--key", pub, given=proof.replace(old, new, 1))

        assert result.exit_code == 1
        assert result.stdout == ""
        assert "nothing is proved: " in result.stderr

    def test_another_key_proves_nothing(self, proof: str) -> None:
        assert run("check", "-", "--key", OTHER_KEY.vkey, given=proof).exit_code == 1

    def test_a_file_that_is_not_there_exits_2(self, tmp_path: Path, pub: Path) -> None:
        assert run("check", tmp_path / "nothing", "--key", pub).exit_code == 2

    def test_what_callers_sent_moves_no_cursor(self) -> None:
        record = orjson.dumps({"seq": 0, "tool": "\x1b[2J\x7f\x9b\u202e\u2028"})
        words = proof_words(Proof(0, record, (), ""), Checkpoint("x\x1b", 1, bytes(32)))

        assert all(character.isprintable() or character == "\n" for character in words)
