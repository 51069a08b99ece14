"""A second opinion on what is shell: tree-sitter-bash.

Our own reading says what runs; a text that another grammar of bash finds an error in is not relied on.  The parser is a
C library that is handed only what our own reading, with its bounds on length and nesting, took in before.
"""

from typing import Final

import tree_sitter_bash
from tree_sitter import Language, Parser

_PARSER: Final = Parser(Language(tree_sitter_bash.language()))


def has_error(text: str) -> bool:
    """Whether tree-sitter-bash finds something in the text that is no bash."""
    return _PARSER.parse(text.encode("utf-8", "surrogatepass")).root_node.has_error
