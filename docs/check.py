"""Is the documentation true?  `just docs` prints what is not, one line each, and exits 1.

Looked at: relative links and their anchors, `callgate` commands and `just` recipes in code blocks (parsed, not run),
examples of the files (a YAML block says by its first line which it is; policy tests are run against the last whole
policy before them on the page), the tables and schemas that generate.py makes, the anchors that `callgate check` names,
and the schema that each example file names for editors.
"""

import re
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
from generate import DOCS, StaleWordsError, regenerated

from callgate.cli import main as callgate
from callgate.config import Config, load_config
from callgate.policy.compile import Policy, load_policy
from callgate.policy.remarks import CHECKS as REMARKS
from callgate.policy.scenario import Suite, read_suite, try_out
from callgate.schemas import SCHEMAS, schema_text
from callgate.yaml_strict import Problem

ROOT: Final = Path(__file__).parents[1]
PATTERNS: Final = ("*.md", "docs/**/*.md", "examples/**/*.md", "spire/*.md")

_FENCE: Final = re.compile(r"^( *)(```+)([\w-]*)\n(.*?)^\1\2 *$", re.DOTALL | re.MULTILINE)
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_COMMAND: Final = re.compile(
    r"(?:^|&& |; |run: )(?:\w+=\S+ )*(?:uv run )?(callgate|just) ((?:\\\n|[^;&|#\n])*)", re.MULTILINE
)
_REDIRECTION: Final = re.compile(r" (?:>>?|<) ?\S+")
_RECIPE: Final = re.compile(r"^([a-z][a-z-]*)\b[^:=\n]*:(?!=)", re.MULTILINE)

# What editors with the YAML language server look for.
_SCHEMA_LINE: Final = "# yaml-language-server: $schema="

# Files of whoever reads the page, which are not here.
_NOT_HERE: Final = re.compile(r"No such file or directory|does not exist\.$")

# Files of others, of which no more is known than the commands in them.
_FOREIGN: Final = ("# .github/", "# kubernetes/")

# What a fragment is completed with: each key that it does not have itself.
_REST: Final = {
    "callgate.yaml": {
        "listen": "listen: 127.0.0.1:8443",
        "issuer": "issuer: https://gate.acme.test",
        "policy": "policy: policy.yaml",
        "servers": "servers: {ledger: {url: https://ledger.acme.test/mcp}}",
        "audit": "audit: {folder: audit}",
    },
    "policy.yaml": {"version": "version: 1", "trust_domains": "trust_domains: [acme.test, partner.test]"},
    "policy.test.yaml": {"policy": "policy: policy.yaml"},
}


@dataclass(frozen=True, slots=True)
class Page:
    """One Markdown file; `prose` has its code blocks blanked out, line by line."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        """Its path from the root of the repository."""
        return str(self.path.relative_to(ROOT))

    @property
    def prose(self) -> str:
        """The text without code blocks, with every line where it was."""
        return _FENCE.sub(lambda block: "\n" * block[0].count("\n"), self.text)

    def blocks(self) -> Iterator[tuple[int, str, str]]:
        """Each code block: the line on which its content begins, its language, its content."""
        for block in _FENCE.finditer(self.text):
            yield self.text.count("\n", 0, block.start(4)) + 1, block[3], block[4]

    def anchors(self) -> frozenset[str]:
        """Its headings as GitHub names them in links."""
        return frozenset(_slug(heading[1]) for heading in _HEADING.finditer(self.prose))

    def problem(self, line: int, message: str) -> str:
        """What is wrong, as editors read it."""
        return f"{self.name}:{line}: {message}"


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def read_pages() -> list[Page]:
    """Every page of the documentation."""
    found = {path for pattern in PATTERNS for path in ROOT.glob(pattern)}
    return [Page(path, path.read_text(encoding="utf-8")) for path in sorted(found)]


def broken_links(page: Page) -> Iterator[str]:
    """Relative links to what is not there."""
    for number, line in enumerate(page.prose.splitlines(), 1):
        for link in _LINK.finditer(line):
            target, _, anchor = link[1].partition("#")
            if "://" in target or target.startswith("mailto:"):
                continue
            path = page.path.parent / target if target else page.path
            if not path.exists():
                yield page.problem(number, f"{target} does not exist")
            elif anchor and anchor not in Page(path, path.read_text(encoding="utf-8")).anchors():
                yield page.problem(number, f"{link[1]}: no such heading")


def wrong_commands(page: Page) -> Iterator[str]:
    """Command lines that `callgate` or `just` would not take."""
    recipes = frozenset(_RECIPE.findall((ROOT / "Justfile").read_text(encoding="utf-8")))
    for start, language, content in page.blocks():
        if language not in {"", "sh", "bash", "console", "yaml"}:
            continue
        for command in _COMMAND.finditer(content):
            arguments = shlex.split(_REDIRECTION.sub("", command[2].replace("\\\n", " ")))
            wrong = _refusal_of(command[1], arguments, recipes)
            if wrong:
                line = start + content.count("\n", 0, command.start())
                yield page.problem(line, f"{shlex.join([command[1], *arguments])}: {wrong}")


def _refusal_of(program: str, arguments: Sequence[str], recipes: frozenset[str]) -> str:
    if program == "just":
        return "" if arguments and arguments[0] in recipes else "no such recipe"
    try:
        _parse(callgate, arguments)
    except click.UsageError as error:
        told = error.format_message()
        return "" if _NOT_HERE.search(told) else told
    return ""


def _parse(command: click.Command, arguments: Sequence[str]) -> None:
    """Walk down to the command that is meant, and let it read its arguments.  Raises click.UsageError."""
    if not isinstance(command, click.Group) or not arguments or arguments[0].startswith("-"):
        try:
            command.make_context(command.name, list(arguments))
        except click.exceptions.Exit:  # --help and --version
            return
        return
    found = command.get_command(click.Context(command), arguments[0])
    if found is None:
        raise click.UsageError(f"no command {arguments[0]!r}")
    _parse(found, arguments[1:])


def wrong_examples(page: Page) -> Iterator[str]:
    """Examples of the files that the gate would refuse, and policy tests that fail."""
    policy: Policy | None = None
    for start, language, content in page.blocks():
        first, _, _ = content.partition("\n")
        if language != "yaml" or first.startswith(_FOREIGN):
            continue
        is_part, name = first.startswith("# part of "), first.removeprefix("# part of ").removeprefix("# ")
        if name not in _REST:
            yield page.problem(start, f"the first line must be '# …' or '# part of …' with one of {', '.join(_REST)}")
            continue
        found = _read(name, _completed(name, content) if is_part else content)
        if isinstance(found, tuple):
            yield from (page.problem(start + max(problem.line - 1, 0), problem.message) for problem in found)
        elif isinstance(found, Suite):
            yield from _failed_tests(page, start, found, policy)
        elif isinstance(found, Policy) and not is_part:
            policy = found


def _completed(name: str, content: str) -> str:
    rest = [line for key, line in _REST[name].items() if not re.search(rf"^{key}:", content, re.MULTILINE)]
    return content + "".join(f"{line}\n" for line in rest)


def _read(name: str, text: str) -> Config | Policy | Suite | tuple[Problem, ...]:
    match name:
        case "callgate.yaml":
            return load_config(text, name)
        case "policy.yaml":
            return load_policy(text, name)
        case _:
            return read_suite(text, name)


def _failed_tests(page: Page, start: int, suite: Suite, policy: Policy | None) -> Iterator[str]:
    if policy is None:
        yield page.problem(start, "there is no whole policy.yaml before it to be tested")
        return
    for trial in (try_out(policy, scenario) for scenario in suite.scenarios):
        for mismatch in trial.mismatches:
            words = f"{trial.scenario.name}: {mismatch.what} is {mismatch.got}, not {mismatch.expected}"
            yield page.problem(start + trial.scenario.line - 1, words)


def stale_tables(page: Page) -> Iterator[str]:
    """Tables that no longer say what the code says."""
    try:
        if regenerated(page.text) != page.text:
            yield page.problem(1, "its tables are out of date: run python docs/generate.py")
    except (StaleWordsError, KeyError) as error:
        yield page.problem(1, str(error))


def stale_schemas() -> Iterator[str]:
    """Published schemas that are not those of the code."""
    for name, filename in SCHEMAS.items():
        file = DOCS / "reference" / filename
        if not file.exists() or file.read_text(encoding="utf-8") != schema_text(name):
            yield f"{file.relative_to(ROOT)}:1: it is out of date: run python docs/generate.py"


def missing_anchors(pages: Sequence[Page]) -> Iterator[str]:
    """Remarks of `callgate check` that lead nowhere."""
    anchors = {page.name: page.anchors() for page in pages}
    for check in REMARKS.values():
        name, _, anchor = check.anchor.partition("#")
        if anchor not in anchors.get(name, ()):
            yield f"{name}:1: {check.code} has no heading here"


def missing_schemas() -> Iterator[str]:
    """Example files whose first line names a schema that is not there."""
    for file in sorted(ROOT.glob("examples/**/*.yaml")):
        first = file.read_text(encoding="utf-8").partition("\n")[0]
        named = first.partition(_SCHEMA_LINE)[2]
        if not named or not (file.parent / named).is_file():
            yield f"{file.relative_to(ROOT)}:1: the first line must be '{_SCHEMA_LINE}…', with the path of a schema"


CHECKS: Final[tuple[Callable[[Page], Iterator[str]], ...]] = (
    broken_links,
    wrong_commands,
    wrong_examples,
    stale_tables,
)


def main() -> int:
    """Check everything; the exit status."""
    pages = read_pages()
    problems = [problem for page in pages for check in CHECKS for problem in check(page)]
    problems += [*stale_schemas(), *missing_schemas(), *missing_anchors(pages)]
    sys.stdout.writelines(f"{problem}\n" for problem in problems)
    sys.stdout.write(f"{len(pages)} pages, {len(problems)} problems\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
