"""How each SQL dialect writes strings, names and comments: the facts that decide where a statement ends.

What a server's settings can change is taken as the database ships: `standard_conforming_strings` on (PostgreSQL), no
ANSI_QUOTES and no NO_BACKSLASH_ESCAPES (MySQL), QUOTED_IDENTIFIER on (SQL Server).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final


class Known(Enum):
    """Whether a dialect does something.  Where that is not known, a text that turns on it cannot be read."""

    YES = "yes"
    NO = "no"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Lexicon:
    """What one dialect is written with.

    `parser`: what sqlglot calls it.  `name_quotes`: pairs that stand around a name, the first of them for texts that
    are written anew.  `string_quotes`: beside those of `name_quotes`, what stands around a string.
    `backslash`: whether a backslash in a string takes the next character's meaning away.  `escape_strings`: E'…', in
    which it does.  `prefixes`: letters that may stand directly in front of a string.  `dollar`: "" none, "$$" without a
    tag, "$tag$" with one.  `comments`: what starts a comment that ends with the line.  `nested`: whether block comments
    nest.  `carriage_return`: whether a lone carriage return ends a line.  `word`: what a bare word may hold beside
    letters, digits and `_`.
    """

    parser: str
    name_quotes: tuple[str, ...] = ('""',)
    string_quotes: str = "'"
    backslash: Known = Known.NO
    escape_strings: bool = False
    triple_quotes: bool = False
    alternative_quotes: bool = False
    unicode_names: bool = False
    prefixes: str = "[nNbBxX]"
    dollar: str = ""
    comments: tuple[str, ...] = ("--",)
    comment_needs_blank: bool = False
    executable_comments: bool = False
    nested: Known = Known.NO
    carriage_return: Known = Known.UNCLEAR
    word: str = "$"
    word_start: str = ""
    digits_start_words: bool = False


# PostgreSQL 17, 4.1 "Lexical Structure": "/* … */ comments nest"; scan.l: newline is [\n\r].
_POSTGRES: Final = Lexicon(
    parser="postgres",
    escape_strings=True,
    unicode_names=True,
    prefixes="(?:[nNbBxX]|[uU]&)",
    dollar="$tag$",
    nested=Known.YES,
    carriage_return=Known.YES,
)
# Spark's SqlBaseLexer.g4: SIMPLE_COMMENT is '--' ('\\\n' | ~[\r\n])*, BRACKETED_COMMENT nests, R'…' knows no escape.
_SPARK: Final = Lexicon(
    parser="spark",
    name_quotes=("``",),
    string_quotes="'\"",
    backslash=Known.YES,
    prefixes="[xX]",
    nested=Known.YES,
    carriage_return=Known.YES,
    word="",
    digits_start_words=True,
)

LEXICONS: Final[Mapping[str, Lexicon]] = MappingProxyType(
    {
        # ISO 9075-2, 5.3: whether bracketed comments nest is the implementation's choice.
        "ansi": Lexicon(parser="", backslash=Known.UNCLEAR, nested=Known.UNCLEAR),
        # GoogleSQL, "Lexical structure and syntax": "Nested comments are not supported"; strings in one or three of
        # either quote; a backslash keeps a quote from ending a raw string too.
        "bigquery": Lexicon(
            parser="bigquery",
            name_quotes=("``",),
            string_quotes="'\"",
            backslash=Known.YES,
            triple_quotes=True,
            prefixes="(?:[rR][bB]?|[bB][rR]?)",
            comments=("--", "#"),
            carriage_return=Known.YES,
            word="",
        ),
        # ClickHouse, "Syntax": comments start with --, #! and "# "; names in either quotes, with backslashes.
        "clickhouse": Lexicon(
            parser="clickhouse",
            name_quotes=('""', "``"),
            backslash=Known.YES,
            dollar="$tag$",
            comments=("--", "#!", "# "),
            nested=Known.UNCLEAR,
        ),
        "databricks": Lexicon(
            parser="databricks",
            name_quotes=("``",),
            string_quotes="'\"",
            backslash=Known.YES,
            prefixes="[xX]",
            nested=Known.YES,
            carriage_return=Known.YES,
            word="",
            digits_start_words=True,
        ),
        # Its lexer is PostgreSQL's.
        "duckdb": Lexicon(
            parser="duckdb",
            escape_strings=True,
            prefixes="[nNbBxX]",
            dollar="$tag$",
            nested=Known.YES,
            carriage_return=Known.YES,
        ),
        # MySQL 8.4, 11.7 "Comments": "--" "requires the second dash to be followed by at least one whitespace or
        # control character"; nested comments are not supported; /*! … */ is executed, and /*M! … */ by MariaDB.
        "mysql": Lexicon(
            parser="mysql",
            name_quotes=("``",),
            string_quotes="'\"",
            backslash=Known.YES,
            prefixes="(?:[nNbBxX]|_[a-zA-Z0-9]+)",
            comments=("--", "#"),
            comment_needs_blank=True,
            executable_comments=True,
            carriage_return=Known.NO,
            digits_start_words=True,
        ),
        # Oracle 23ai, SQL Language Reference, "Text Literals": q'!…!'.
        "oracle": Lexicon(parser="oracle", alternative_quotes=True, prefixes="[nN]", word="$#"),
        "postgres": _POSTGRES,
        # It came from PostgreSQL 8.0, in which backslashes were escapes; the manual leaves it open.
        "redshift": Lexicon(
            parser="redshift",
            backslash=Known.UNCLEAR,
            dollar="$tag$",
            nested=Known.UNCLEAR,
            carriage_return=Known.YES,
            word="$#",
            word_start="#",
        ),
        # Snowflake, "String & binary data types": backslash escapes in '…', none in $$…$$; // starts a comment.
        "snowflake": Lexicon(
            parser="snowflake",
            backslash=Known.YES,
            prefixes="[xX]",
            dollar="$$",
            comments=("--", "//"),
            nested=Known.UNCLEAR,
        ),
        "spark": _SPARK,
        # SQLite, tokenize.c: a comment ends with \n alone; names in "…", `…` and […].
        "sqlite": Lexicon(
            parser="sqlite",
            name_quotes=('""', "``", "[]"),
            prefixes="[xX]",
            carriage_return=Known.NO,
        ),
        # Trino's SqlBase.g4: SIMPLE_COMMENT is '--' ~[\r\n]* '\r'? '\n'?, BRACKETED_COMMENT '/*' .*? '*/'.
        "trino": Lexicon(
            parser="trino", unicode_names=True, prefixes="(?:[xX]|[uU]&)", carriage_return=Known.YES, word=""
        ),
        # Transact-SQL reference, "Database identifiers", "/*…*/ (Comment)": "Nested comments are supported".
        "tsql": Lexicon(
            parser="tsql",
            name_quotes=("[]", '""'),
            prefixes="[nN]",
            nested=Known.YES,
            word="$@#",
            word_start="@#",
        ),
    }
)
