"""What `callgate check` may remark on, and what each remark is called.

A code keeps its meaning for ever: people switch remarks off by it, and their CI counts them.  A code that is given up is
not given out again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from callgate.yaml_strict import Position, Problem

_REFERENCE: Final = "docs/reference/policy.md"


class Level(StrEnum):
    """How bad it is.  The words are SARIF's, too (2.1.0, section 3.27.10)."""

    # Refused, or it protects less than it says.
    ERROR = "error"
    # Dead, or not what its author meant, and nothing is let through by it.
    WARNING = "warning"
    # Worth a look.
    NOTE = "note"

    @property
    def weight(self) -> int:
        """More is worse."""
        return _WEIGHTS[self]


_WEIGHTS: Final = {Level.NOTE: 0, Level.WARNING: 1, Level.ERROR: 2}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that is looked for.

    `level` is what it is unless the remark says otherwise; `summary` says what is wrong, `hint` how to mend it.
    """

    code: str
    name: str
    level: Level
    summary: str
    hint: str

    @property
    def anchor(self) -> str:
        """Where the documentation tells more."""
        return f"{_REFERENCE}#{self.code.lower()}"


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that was found.

    `line` and `column` count from 1; both are 0 where the whole file is meant.  `rule` is the rule's id, or "".
    """

    check: Check
    level: Level
    file: str
    line: int
    column: int
    message: str
    rule: str = ""

    @classmethod
    def of_problem(cls, problem: Problem) -> "Remark":
        """What made a file be refused."""
        return cls(REFUSED, Level.ERROR, problem.file, problem.line, problem.column, problem.message)

    @property
    def place(self) -> tuple[str, Position, str]:
        """To put them in the order of the files."""
        return self.file, (self.line, self.column), self.check.code


REFUSED: Final = Check(
    "CG001",
    "refused",
    Level.ERROR,
    "The file is refused, and a gate does not start with it or keeps the one it has.",
    "Mend what the message says.",
)
UNKNOWN_TOOL: Final = Check(
    "CG101",
    "unknown-tool",
    Level.WARNING,
    "The rule names a tool that the server's list does not have. A denial of it denies nothing.",
    "Write the name as the server's tools/list has it; case matters.",
)
UNKNOWN_ARGUMENT: Final = Check(
    "CG102",
    "unknown-argument",
    Level.WARNING,
    "The condition, or a scope, reads an argument that is not in the tool's schema. Where an argument is missing the "
    "condition fails: a grant does not apply, a denial does.",
    "Write the argument's name as the tool's inputSchema has it; ask has(args.name) where it may be missing.",
)
ARGUMENT_TYPE: Final = Check(
    "CG103",
    "argument-type",
    Level.ERROR,
    "The condition asks of an argument what the tool's schema does not allow, so that it, or this part of it, never holds.",
    "Compare with a value of the type, and among the values, that the tool's inputSchema names.",
)
DECLARED_ARGUMENT: Final = Check(
    "CG104",
    "declared-argument",
    Level.WARNING,
    "`tools` declares as SQL or shell an argument that is not in the tool's schema, or that can be no text. What the tool "
    "does take there is not read.",
    "Write the argument's name as the tool's inputSchema has it, or its place as a JSON pointer.",
)
NEVER: Final = Check(
    "CG201",
    "condition-never",
    Level.WARNING,
    "The condition can never hold. A grant with it gives nothing; a denial applies only where the condition fails.",
    "Look for && where || was meant, for bounds that exclude each other, and for a value that cannot be.",
)
ALWAYS: Final = Check(
    "CG202",
    "condition-always",
    Level.WARNING,
    "The condition holds whatever the call says. A grant is not limited by it.",
    "Look for || between two !=, which wants to be && or !(x in [...]); or leave the condition out.",
)
DEAD_GRANT: Final = Check(
    "CG203",
    "dead-grant",
    Level.WARNING,
    "A denial without conditions covers all that the grant gives, and a denial beats every grant.",
    "Take the grant out, or name fewer tools or workloads in the denial.",
)
REDUNDANT_GRANT: Final = Check(
    "CG204",
    "redundant-grant",
    Level.NOTE,
    "Another grant gives all of it, under no more conditions and with the same obligations.",
    "Take one of them out.",
)
DEAD_DENIAL: Final = Check(
    "CG205",
    "dead-denial",
    Level.NOTE,
    "No grant gives what the denial denies, and what is not granted is denied in any case.",
    "Keep it as a guard against grants to come; but if it was meant to narrow a grant, look at how both are written.",
)
WIDER_THAN_DENIAL: Final = Check(
    "CG206",
    "grant-wider-than-denial",
    Level.WARNING,
    "A wildcard of the grant gives a tool that a denial takes from some workloads, users or calls only: all others "
    "may call it.",
    "Name the tools that are meant instead of the wildcard, or deny the tool to everybody and grant it by name.",
)
EXPIRED: Final = Check(
    "CG207",
    "expired",
    Level.WARNING,
    "The rule has ended.",
    "Take it out, or give it a later `until`.",
)
NEVER_ACTIVE: Final = Check(
    "CG208",
    "never-active",
    Level.ERROR,
    "There is no moment at which the rule is in force.",
    "Let `from` be before `until`, and let one of the hours and days of `between` be within them.",
)
UNKNOWN_TAG: Final = Check(
    "CG210",
    "unknown-tag",
    Level.ERROR,
    "The condition asks for a tag that no tool bears, so that the answer is always no.",
    "Write the tag as `tools` has it, or give it to a tool there.",
)
BYPASSED: Final = Check(
    "CG211",
    "bypassed-condition",
    Level.ERROR,
    "Another grant gives all of it without these conditions. Grants add up, so that they limit nothing.",
    "Take the tool out of the wider grant, give that one the same conditions, or write a denial.",
)
UNCOUNTED_TOOL: Final = Check(
    "CG212",
    "uncounted-tool",
    Level.WARNING,
    "The condition counts calls of a tool that no grant gives, so that there are always none.",
    "Write the tool as the grants name it: `tool`, or `server/tool` for one of another server.",
)
REPEATED_PATTERN: Final = Check(
    "CG213",
    "repeated-pattern",
    Level.NOTE,
    "Another pattern of the same list names all that this one names.",
    "Take the narrower one out, or take the wider one out if it was not meant.",
)
UNKNOWN_ISSUER: Final = Check(
    "CG214",
    "unknown-issuer",
    Level.ERROR,
    "The rule names users whose tokens the gate does not take: a grant gives nothing, a denial spares nobody.",
    "Write the issuer as callgate.yaml does, or configure it there.",
)
DENIES_ALL: Final = Check(
    "CG215",
    "denies-every-call",
    Level.WARNING,
    "The denial's condition reads an argument that a tool does not have. There it fails, and every call is denied.",
    "Name only tools that have the argument, or put has(args.name) && in front.",
)
UNDECLARED: Final = Check(
    "CG216",
    "undeclared-program",
    Level.WARNING,
    "The condition asks for `sql(...)` or `shell(...)` of an argument, or a pack looks at one, that `tools` does not "
    "declare. The condition fails there, and the pack denies every call.",
    "Declare the argument: `tools: [{server: db, tools: [query], sql: {query: postgres}}]`; or name fewer tools.",
)
UNMASKS_NOTHING: Final = Check(
    "CG217",
    "unmasks-nothing",
    Level.WARNING,
    "The grant unmasks what `screening` does not mask on these tools. What a grant masks itself stays masked.",
    "Take it out of `unmask`, or write the name as `screening` has it.",
)
NEVER_UNMASKS: Final = Check(
    "CG218",
    "never-unmasks",
    Level.WARNING,
    "Another grant allows the same calls and does not unmask it. Only what every grant that applies unmasks is shown.",
    "Let both grants unmask it, or take the tools out of the wider one.",
)
IDLE_ENTRY: Final = Check(
    "CG219",
    "idle-entry",
    Level.WARNING,
    "An entry of `screening` or `tools` is about a server that no rule is about.",
    "Write the server as callgate.yaml and the rules do, or take the entry out.",
)
NO_OWNER: Final = Check(
    "CG220",
    "no-owner",
    Level.WARNING,
    "The grant's approval has `four_eyes`, and no entry of `owners` names a workload that the grant names.",
    "Declare who answers for the workload: `owners: [{workloads: [...], groups: [...]}]`; or leave `four_eyes` out.",
)
OWNS_NOTHING: Final = Check(
    "CG221",
    "owns-nothing",
    Level.WARNING,
    "An entry of `owners` is about workloads that no grant names.",
    "Write the workloads as the grants do, or take the entry out.",
)
NEVER_APPROVED: Final = Check(
    "CG222",
    "never-approved",
    Level.ERROR,
    "Those who may agree own the workload that asks, and `four_eyes` does not count them: nobody can agree.",
    "Name a group or people who do not own the workload, or as many of them as are needed.",
)
LOCAL_AMONG_SEVERAL: Final = Check(
    "CG223",
    "local-among-several",
    Level.WARNING,
    "More than one person has to agree, and `local` may be one of them: whoever comes by the admin socket. On most "
    "machines that is one user.",
    "Name groups of people who sign in, or set `needed: 1`.",
)
NEVER_ASKED: Final = Check(
    "CG224",
    "never-asked",
    Level.WARNING,
    "Something is asked for that can never come up: a fresh sign-in of people who come by the admin socket alone, or an "
    "approval of what is held where nothing is.",
    "Leave it out, name people who sign in, or give `mask_arguments` an entry with `mode: hold`.",
)
ASKED_ANYWAY: Final = Check(
    "CG225",
    "asked-anyway",
    Level.WARNING,
    "One grant asks people, and another gives the same calls without. Approvals add up: people are asked wherever the "
    "grant that asks them applies, whatever else allows the call.",
    "Where that is not meant, take the tools or workloads out of the grant that asks, or give it a `when`.",
)
HELD_FOR_NOBODY: Final = Check(
    "CG226",
    "held-for-nobody",
    Level.WARNING,
    "`mask_arguments` holds something for people, and no grant that may apply has an `approval`: the call is refused.",
    "Give a grant an `approval`, with `asks: on_hold` where it is for that alone; or write `mode: deny`.",
)
UNCOMPARED: Final = Check(
    "CG299",
    "not-compared",
    Level.NOTE,
    "There are more rules of one server than can be compared with one another, or more conditions than can be held "
    "against the schemas of so many tools.",
    "Nothing is wrong; what CG103, CG203 to CG206, CG211 and CG215 would say of the rest is not known.",
)

CHECKS: Final[Mapping[str, Check]] = MappingProxyType(
    {
        check.code: check
        for check in (
            REFUSED,
            UNKNOWN_TOOL,
            UNKNOWN_ARGUMENT,
            ARGUMENT_TYPE,
            DECLARED_ARGUMENT,
            NEVER,
            ALWAYS,
            DEAD_GRANT,
            REDUNDANT_GRANT,
            DEAD_DENIAL,
            WIDER_THAN_DENIAL,
            EXPIRED,
            NEVER_ACTIVE,
            UNKNOWN_TAG,
            BYPASSED,
            UNCOUNTED_TOOL,
            REPEATED_PATTERN,
            UNKNOWN_ISSUER,
            DENIES_ALL,
            UNDECLARED,
            UNMASKS_NOTHING,
            NEVER_UNMASKS,
            IDLE_ENTRY,
            NO_OWNER,
            OWNS_NOTHING,
            NEVER_APPROVED,
            LOCAL_AMONG_SEVERAL,
            NEVER_ASKED,
            ASKED_ANYWAY,
            HELD_FOR_NOBODY,
            UNCOMPARED,
        )
    }
)
