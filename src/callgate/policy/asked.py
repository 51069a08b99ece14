"""What a condition asks for by name in its functions: tags of tools, and tools whose calls it counts."""

from dataclasses import dataclass

from callgate.policy.cel_tree import Apply, Const, Expr, Name, walk


@dataclass(frozen=True, slots=True)
class Asked:
    """`tags`: of `history.used` and of `"tag" in tool.tags`.  `counted`: of `history.calls`, as written."""

    tags: frozenset[str]
    counted: frozenset[str]


def asked_of(tree: Expr) -> Asked:
    """Everything that the tree names, wherever it stands."""
    tags: set[str] = set()
    counted: set[str] = set()
    for node in walk(tree):
        match node:
            case Apply(_, "@in", (Const(_, str() as tag), Name(_, "tool.tags"))):
                tags.add(tag)
            case Apply(_, "used", (Name(_, "history"), Const(_, str() as tag), *_)):
                tags.add(tag)
            case Apply(_, "calls", (Name(_, "history"), Const(_, str() as tool), *_)):
                counted.add(tool)
            case _:
                pass
    return Asked(frozenset(tags), frozenset(counted))
