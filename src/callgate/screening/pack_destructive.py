"""The packs `destructive-sql` and `destructive-shell`: what the readings of declared arguments call destructive."""

from typing import Final

from callgate.screening.pack_declared import destructive, shell_of, sql_of
from callgate.screening.pack_terms import UNDECLARED, Declared, Pack, rules_with
from callgate.screening.shell import SHELL_RULES
from callgate.screening.sql import SQL_RULES
from callgate.wire.json_strict import JsonObject

DESTRUCTIVE_SQL: Final = Pack(
    "destructive-sql",
    1,
    "SQL that deletes, changes what exists, or cannot be read, in the arguments that the policy declares as SQL",
    rules_with(SQL_RULES, declared=True),
)
DESTRUCTIVE_SHELL: Final = Pack(
    "destructive-shell",
    1,
    "Shell commands that delete, stop or overwrite, or cannot be read, in the arguments that the policy declares as shell",
    rules_with(SHELL_RULES, declared=True),
)


def look_for_destructive_sql(_tool: str, arguments: JsonObject, declared: Declared) -> set[str]:
    """The rules of destructive-sql that the call breaks."""
    return destructive(sql_of(arguments, declared)) if declared.sql else {UNDECLARED}


def look_for_destructive_shell(_tool: str, arguments: JsonObject, declared: Declared) -> set[str]:
    """The rules of destructive-shell that the call breaks."""
    return destructive(shell_of(arguments, declared)) if declared.shell else {UNDECLARED}
