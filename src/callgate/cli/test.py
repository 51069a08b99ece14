"""`callgate test`: does the policy decide as its authors say?"""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import orjson

from callgate.cli.junit import as_junit
from callgate.cli.trials import FileRun, PolicyRun, Run, find_tests, run_tests, told
from callgate.policy.exercise import RuleExercise
from callgate.telemetry.visible import visible
from callgate.wire.json_strict import JsonObject
from callgate.yaml_strict import Problem

_OK, _FAILED, _NOT_RUN = 0, 1, 2
# A save is seen at once by a person's measure, and to look costs a call for each file.
_LOOK_EVERY_S: Final = 0.3
_SHOWN_MAX_CHARS = 500
_GREEN, _RED, _DIM, _BOLD, _RESET = "\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[1m", "\x1b[0m"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wishes:
    """The flags."""

    paths: tuple[Path, ...]
    part_of_name: str
    coverage: bool
    min_coverage: float | None
    junit: Path | None
    form: str

    def wants(self, name: str) -> bool:
        return self.part_of_name.casefold() in name.casefold()


@click.command("test")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path, exists=True))
@click.option("-k", "part_of_name", default="", metavar="NAME", help="Only tests whose names have this in them.")
@click.option("--coverage", is_flag=True, help="Tell which rules the tests exercise, and how.")
@click.option("--min-coverage", type=click.FloatRange(0, 100), metavar="PERCENT", help="Fail below it; as --coverage.")
@click.option("--junit", type=click.Path(path_type=Path, dir_okay=False), help="Also write JUnit XML to this file.")
@click.option("--watch", is_flag=True, help="Run again whenever a test or a policy changes, until interrupted.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
def test(
    paths: tuple[Path, ...],
    part_of_name: str,
    junit: Path | None,
    form: str,
    *,
    coverage: bool,
    min_coverage: float | None,
    watch: bool,
) -> None:
    """Run policy tests: PATHs are test files, or folders in which *.test.yaml and *_test.yaml are looked for.

    Without a PATH, those below the working folder are run.  A test without `at` takes place on Wednesday, 2026-01-07,
    at 12:00 UTC.  Exit status: 0 all passed, 1 a test failed or coverage is too low, 2 tests could not be run, or there
    are none.
    """
    wishes = _Wishes(
        paths=paths or (Path(),),
        part_of_name=part_of_name,
        coverage=coverage or min_coverage is not None,
        min_coverage=min_coverage,
        junit=junit,
        form=form,
    )
    if watch:
        _watch(wishes)
    else:
        raise SystemExit(_run(wishes)[0])


def _run(wishes: _Wishes) -> tuple[int, Run]:
    files = find_tests(wishes.paths)
    if isinstance(files, Problem):
        return _not_run(str(files))
    if not files:
        return _not_run(f"no tests: nothing in {', '.join(map(str, wishes.paths))} is named *.test.yaml or *_test.yaml")
    run = run_tests(files, wishes.wants)
    if not run.problems and not any(file.results for file in run.files):
        return _not_run(f"no tests: none has '{wishes.part_of_name}' in its name")
    if wishes.junit is not None:
        try:
            wishes.junit.write_bytes(as_junit(run))
        except OSError as error:
            return _not_run(f"{wishes.junit}: cannot be written: {error.strerror}")
    _print(run, wishes)
    return _status(run, wishes), run


def _not_run(why: str) -> tuple[int, Run]:
    click.echo(visible(why, _SHOWN_MAX_CHARS), err=True)
    return _NOT_RUN, Run()


def _status(run: Run, wishes: _Wishes) -> int:
    if run.problems:
        return _NOT_RUN
    too_low = [each for each in run.tested if each.exercise.percent < (wishes.min_coverage or 0)]
    for each in too_low:
        click.echo(f"coverage of {each.name} is below {wishes.min_coverage:g} %", err=True)
    return _FAILED if too_low or run.count(failed=True) else _OK


def _print(run: Run, wishes: _Wishes) -> None:
    if wishes.form == "json":
        click.echo(orjson.dumps(_json(run, coverage=wishes.coverage), option=orjson.OPT_INDENT_2))
        return
    for problem in run.problems:
        click.echo(problem, err=True)
    paint = _Paint(sys.stdout.isatty())
    for file in run.files:
        for line in _file_lines(file, paint):
            click.echo(line)
    if wishes.coverage:
        click.echo("".join(f"{line}\n" for tested in run.tested for line in _coverage_lines(tested, paint)))
    passed, failed = run.count(failed=False), run.count(failed=True)
    words = f"{passed} passed" + (f", {failed} failed" if failed else "")
    if passed or failed:
        click.echo(paint(words, _RED if failed or run.problems else _GREEN))


@dataclass(frozen=True, slots=True)
class _Paint:
    colour: bool

    def __call__(self, text: str, code: str) -> str:
        return f"{code}{text}{_RESET}" if self.colour else text


def _file_lines(file: FileRun, paint: _Paint) -> Iterator[str]:
    for result in file.failed:
        place = visible(f"{file.file}:{result.line}", _SHOWN_MAX_CHARS)
        yield f"{paint('✗', _RED)} {place}: {paint(visible(result.name, _SHOWN_MAX_CHARS), _BOLD)}"
        if result.trial is not None:
            yield from (f"    {visible(told(mismatch), _SHOWN_MAX_CHARS)}" for mismatch in result.trial.mismatches)
        yield from (f"    {line}" for line in result.tree(colour=paint.colour).splitlines())
        yield ""
    if file.results:
        passed = len(file.results) - len(file.failed)
        counted = f"{passed} passed" + (f", {len(file.failed)} failed" if file.failed else "")
        yield f"{visible(file.file, _SHOWN_MAX_CHARS)}: {counted}"


def _coverage_lines(tested: PolicyRun, paint: _Paint) -> Iterator[str]:
    yield ""
    yield f"coverage of {visible(tested.name, _SHOWN_MAX_CHARS)}: {tested.exercise.percent:.1f} %"
    for each in sorted(tested.exercise.rules.values(), key=lambda each: (each.rule.file, each.rule.line)):
        sign = paint("✗", _RED) if each.missing else paint("✓", _GREEN)
        missing = f"  {paint(', '.join(each.missing), _RED)}" if each.missing else ""
        place = paint(visible(f"{each.rule.file}:{each.rule.line}", _SHOWN_MAX_CHARS), _DIM)
        yield f"  {sign} {each.rule.kind} {each.rule.id}: {_counts(each)}{missing}  {place}"


def _counts(each: RuleExercise) -> str:
    condition = ""
    if each.rule.condition is not None:
        condition = f"; condition held {each.held}, did not hold {each.did_not_hold}, failed {each.failed}"
    return f"applied {each.applied} of {each.named}{condition}"


def _json(run: Run, *, coverage: bool) -> JsonObject:
    found: JsonObject = {
        "passed": run.count(failed=False),
        "failed": run.count(failed=True),
        "problems": [str(problem) for problem in run.problems],
        "files": [_file_json(file) for file in run.files],
    }
    return found | ({"coverage": [_coverage_json(tested) for tested in run.tested]} if coverage else {})


def _file_json(file: FileRun) -> JsonObject:
    tests: list[JsonObject] = []
    for result in file.results:
        mismatches = result.trial.mismatches if result.trial is not None else ()
        tests.append(
            {
                "name": result.name,
                "line": result.line,
                "passed": result.trial is None,
                "mismatches": [{"what": m.what, "expected": m.expected, "got": m.got} for m in mismatches],
                "explanation": result.tree(colour=False),
            }
        )
    return {"file": file.file, "tests": [*tests]}


def _coverage_json(tested: PolicyRun) -> JsonObject:
    return {
        "policy": tested.name,
        "digest": tested.policy.digest,
        "percent": round(tested.exercise.percent, 1),
        "rules": [_rule_json(each) for each in tested.exercise.rules.values()],
    }


def _rule_json(each: RuleExercise) -> JsonObject:
    return {
        "id": each.rule.id,
        "kind": each.rule.kind,
        "file": each.rule.file,
        "line": each.rule.line,
        "named": each.named,
        "applied": each.applied,
        "held": each.held,
        "did_not_hold": each.did_not_hold,
        "failed": each.failed,
        "missing": [*each.missing],
    }


def _watch(wishes: _Wishes) -> None:
    """Run, and again after each change.  Everything is looked at before it is read, so that no change is lost."""
    try:
        while True:
            before = _look(wishes.paths)
            _, run = _run(wishes)
            while _look(wishes.paths) == before and all(files.look() == look for files, look in run.looks):
                time.sleep(_LOOK_EVERY_S)
            click.echo(f"\n{'─' * 20}")
    except KeyboardInterrupt:
        click.echo()


def _look(paths: tuple[Path, ...]) -> tuple[object, ...]:
    """What the test files are and how they look from outside."""
    files = find_tests(paths)
    return (files,) if isinstance(files, Problem) else tuple((file, *_state_of(file)) for file in files)


def _state_of(file: Path) -> tuple[int, ...]:
    try:
        found = file.stat()
    except OSError as error:
        return (error.errno or 0,)
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
