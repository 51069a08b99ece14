"""A run of policy tests as JUnit XML, the form that CI systems read.

There is no one standard; these are the elements and attributes that Jenkins, GitLab and GitHub's actions share.
"""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from callgate.cli.trials import FileRun, Result, Run, told
from callgate.telemetry.visible import visible

# A line of a report.  XML 1.0, section 2.2, has no place for most control characters, not even as references.
_MAX_CHARS = 500


def as_junit(run: Run) -> bytes:
    """One `testsuite` a file; a file that is not good is a suite with an error."""
    root = ET.Element("testsuites", _counts(run.files))
    for file in run.files:
        suite = ET.SubElement(root, "testsuite", {"name": _plain(file.file)} | _counts([file]))
        for result in file.results:
            _case(suite, file, result)
        for problem in file.problems:
            case = ET.SubElement(suite, "testcase", {"classname": _plain(file.file), "name": "the file itself"})
            ET.SubElement(case, "error", {"message": _plain(str(problem))})
    ET.indent(root)
    written: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return written + b"\n"


def _counts(files: Sequence[FileRun]) -> dict[str, str]:
    failures = sum(len(file.failed) for file in files)
    errors = sum(len(file.problems) for file in files)
    tests = sum(len(file.results) for file in files) + errors
    seconds = sum(result.seconds for file in files for result in file.results)
    return {"tests": str(tests), "failures": str(failures), "errors": str(errors), "time": f"{seconds:.6f}"}


def _case(suite: ET.Element, file: FileRun, result: Result) -> None:
    names = {"classname": _plain(file.file), "name": _plain(result.name), "file": _plain(file.file)}
    case = ET.SubElement(suite, "testcase", names | {"line": str(result.line), "time": f"{result.seconds:.6f}"})
    if result.trial is not None:
        lines = list(map(told, result.trial.mismatches))
        failure = ET.SubElement(case, "failure", {"message": _plain("; ".join(lines))})
        failure.text = "\n".join(map(_plain, (*lines, *result.tree(colour=False).splitlines())))


def _plain(text: str) -> str:
    return visible(text, _MAX_CHARS)
