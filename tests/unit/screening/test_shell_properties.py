"""What holds for every text: the reading never fails, and no spelling of a destructive command makes it safe."""

import shlex

from hypothesis import given, settings
from hypothesis import strategies as st

from callgate.screening.shell import SHELL_RULES, ShellReading, read_argv, read_shell
from support.screen_score import read_corpus

PIECES = (
    "rm", "ls", "x", "$", "(", ")", "{", "}", "[", "]", "`", "'", '"', "\\", ";", "&", "|", "<", ">", "\n", " ", "\t", "#", "=",
    "*", "?", "~", "!", ",", "..", "$(", "${", "$((", "))", "[[", "]]", "<<", "EOF", "if ", "then ", "fi", "for ", "do ", "done",
    "case ", "in ", "esac", "$'", '$"', "\\x72", "a=", "$a", "-rf", "/srv", "sudo ", "xargs ", "find . -exec ", "sh -c ", "eval ",
    "\u0455", "\u200b", "é", "\x00", "\x1b", "\ud800", "\U000f0000",
)  # fmt: skip
DESTRUCTIVE = [
    case["command"]
    for case in read_corpus("shell")
    if case["form"] == "bash" and case["group"] in {"direct", "system", "git"}
]
ARGV = [case["command"] for case in read_corpus("shell") if case["form"] == "argv" and "destructive" in case["labels"]]
texts = st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text(max_size=60)


def holds(reading: ShellReading) -> bool:
    return reading.destructive == bool(reading.why) and set(reading.why) <= SHELL_RULES.keys()


@settings(deadline=None, max_examples=600)
@given(texts)
def test_a_text_is_always_answered(text: str) -> None:
    assert holds(read_shell(text))


@settings(deadline=None, max_examples=300)
@given(st.lists(texts, max_size=6))
def test_an_argument_list_is_always_answered(words: list[str]) -> None:
    assert holds(read_argv(words))


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(["sed", "awk", "find", "tar", "git", "env", "xargs", "ip", "dd", "kubectl", "docker", "ssh"]),
    st.lists(texts, max_size=5),
)
def test_a_known_command_with_any_arguments_is_always_answered(name: str, words: list[str]) -> None:
    assert holds(read_argv([name, *words]))


def spelt(word: str, ways: list[int]) -> str:
    """The same word in another spelling: each letter plain, after a backslash, in either quotes, or in ANSI-C quoting."""
    spellings = ("{0}", "\\{0}", "'{0}'", '"{0}"', "$'\\x{1:02x}'", "$'\\{1:03o}'", "''{0}", "{0}\\\n")
    return "".join(
        spellings[way].format(letter, ord(letter)) if letter.isalnum() else letter
        for letter, way in zip(word, (ways * len(word))[: len(word)], strict=True)
    )


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(["rm", "shred", "reboot", "mkfs", "kill", "unlink"]),
    st.lists(st.integers(0, 7), min_size=1, max_size=8),
)
def test_no_quoting_of_a_command_makes_it_safe(name: str, ways: list[int]) -> None:
    reading = read_shell(f"{spelt(name, ways)} /srv")
    assert reading.destructive
    assert reading.commands == (name,)


@settings(deadline=None, max_examples=200)
@given(
    st.sampled_from(["find . -delete", "git push --force", "git reset --hard", "dd of=/dev/sda", "systemctl stop x"]),
    st.lists(st.integers(0, 6), min_size=1, max_size=8),
)
def test_no_quoting_of_an_argument_makes_it_safe(text: str, ways: list[int]) -> None:
    assert read_shell(" ".join(spelt(word, ways) for word in text.split())).destructive


WRAPPED = (
    "sh -c {quoted}", "bash -lc {quoted}", "eval {quoted}", "echo $({text}\n)", 'echo "$({text}\n)"', "({text}\n)", "{{ {text}\n}}",
    "if true; then {text}\nfi", "while {text}\ndo break; done", "ls; {text}", "ls && {text}", "false || {text}", "ls | {text}", "! {text}",
    "f() {{ {text}\n}}; f", "x=$({text}\n)", "cat <({text}\n)", "trap {quoted} EXIT", "for i in a; do {text}\ndone",
    "case x in x) {text}\nesac", "bash <<< {quoted}", "sh <<'E_O_F'\n{text}\nE_O_F", "sudo sh -c {quoted}", "env A=1 sh -c {quoted}",
    "ssh h {quoted}", "timeout 5 sh -c {quoted}", "a={quoted}; eval \"$a\"", "sh -c 'sh -c \"$0\"' {quoted}", "# x\n{text}", "{text} # x",
    "coproc sh -c {quoted}", "xargs sh -c {quoted}", "find . -exec sh -c {quoted} \\;", "echo ${{x:-$({text}\n)}}", "echo {quoted} | sh",
)  # fmt: skip


@settings(deadline=None, max_examples=800)
@given(st.sampled_from(DESTRUCTIVE), st.lists(st.sampled_from(WRAPPED), min_size=1, max_size=3))
def test_nothing_that_a_destructive_command_is_put_into_makes_it_safe(text: str, around: list[str]) -> None:
    for form in around:
        text = form.format(text=text, quoted=shlex.quote(text))
    assert read_shell(text).destructive


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(ARGV))
def test_a_destructive_argument_list_stays_so_when_a_shell_runs_it(words: list[str]) -> None:
    assert read_shell(shlex.join(words)).destructive
    assert read_argv(["sh", "-c", shlex.join(words)]).destructive


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(ARGV),
    st.sampled_from([["env"], ["nice", "-n", "5"], ["timeout", "5"], ["nohup"], ["sudo", "--"], ["xargs"], ["setsid"]]),
)
def test_a_destructive_argument_list_stays_so_behind_a_wrapper(words: list[str], wrapper: list[str]) -> None:
    assert read_argv([*wrapper, *words]).destructive


@settings(deadline=None, max_examples=300)
@given(
    st.text(
        st.characters(codec="utf-8", max_codepoint=0xDFFFF, exclude_categories=["Cc", "Cf", "Co", "Cn", "Zl", "Zp"]),
        max_size=40,
    )
)
def test_quoted_text_as_an_argument_of_a_read_does_nothing(text: str) -> None:
    assert not read_shell(f"echo {shlex.quote(text)}").destructive
