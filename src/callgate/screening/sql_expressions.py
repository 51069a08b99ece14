"""Expressions over the rows of a table: which are the same for every row, and which are the same as each other."""

from collections.abc import Mapping
from typing import Final, TypeAlias

from callgate.screening.sql_constants import number_of, text_of
from callgate.screening.sql_tree import exp

# Names of columns that are never null and never negative, as far as names can tell.
_KEYS: Final = frozenset(
    {"id", "_id", "rowid", "_rowid_", "oid", "ctid", "uuid", "guid", "pk", "xmin", "tableoid", "key_id"}
)
# What looks like a column and is the same for every row.
_NOT_OF_ROWS: Final = frozenset(
    {
        "rownum", "sysdate", "systimestamp", "user", "current_user", "session_user", "current_date", "current_time",
        "current_timestamp", "localtime", "localtimestamp", "uid", "true", "false", "now", "level", "on", "off", "yes",
    }
)  # fmt: skip
# a < b is b > a.
MIRRORED: Final[Mapping[type[exp.Expr], type[exp.Expr]]] = {
    exp.GT: exp.LT, exp.LT: exp.GT, exp.GTE: exp.LTE, exp.LTE: exp.GTE, exp.EQ: exp.EQ, exp.NEQ: exp.NEQ,
    exp.NullSafeEQ: exp.NullSafeEQ, exp.NullSafeNEQ: exp.NullSafeNEQ,
}  # fmt: skip
_NEGATED: Final[Mapping[type[exp.Expr], type[exp.Expr]]] = {
    exp.EQ: exp.NEQ, exp.NEQ: exp.EQ, exp.GT: exp.LTE, exp.LTE: exp.GT, exp.LT: exp.GTE, exp.GTE: exp.LT,
    exp.NullSafeEQ: exp.NullSafeNEQ, exp.NullSafeNEQ: exp.NullSafeEQ,
}  # fmt: skip
# What is equal for expressions that are the same for every row.
Key: TypeAlias = tuple[object, ...]


class Expressions:
    """Reads expressions over the rows of `targets`.

    `targets`: what the tables that are written may be called, in lower case, each with the one name that counts: ""
    where there is only one table.
    """

    def __init__(self, targets: Mapping[str, str]) -> None:
        self.targets = targets
        self._keys = _KEYS | {f"{_singular(each)}{end}" for each in targets for end in ("_id", "id")}

    def sees_rows(self, node: exp.Expr) -> bool:
        """Whether it looks at the row: at a column, directly or out of a query that is asked anew for each."""
        for each in node.walk(prune=lambda inner: _is_query(inner) and inner is not node):
            if isinstance(each, exp.Column):
                if each.table or each.name.lower() not in _NOT_OF_ROWS:
                    return True
            elif isinstance(each, exp.Star):
                if not isinstance(each.parent, exp.Count):
                    return True
            elif _is_query(each) and asks_outside(each):
                return True
        return False

    def is_key(self, node: exp.Expr) -> bool:
        """Whether it is a column that is never null nor negative; `t.*` is never null."""
        if not isinstance(node, exp.Column):
            return False
        return isinstance(node.this, exp.Star) or node.name.lower() in self._keys

    def is_common_column(self, node: exp.Expr) -> bool:
        """Whether it is a column, and no key nor anything that only looks like a column."""
        return type(node) is exp.Column and not self.is_key(node) and node.name.lower() not in _NOT_OF_ROWS

    def shifted(self, node: exp.Expr) -> tuple[Key, float]:
        """The key of an expression without the numbers that are added to it, and their sum."""
        base, plus = self.base(node)
        number = number_of(base)
        return (("number",), plus + number) if number is not None else (self.key(base), plus)

    def base(self, node: exp.Expr) -> tuple[exp.Expr, float]:
        """An expression without the numbers that are added to it, and their sum."""
        plus = 0.0
        node = self.plain(node)
        while isinstance(node, exp.Add | exp.Sub):
            left, right = number_of(bare(node.this)), number_of(bare(node.expression))
            if right is not None:
                plus += right if isinstance(node, exp.Add) else -right
                node = self.plain(node.this)
            elif left is not None and isinstance(node, exp.Add):
                plus += left
                node = self.plain(node.expression)
            else:
                break
        return node, plus

    def plain(self, node: exp.Expr) -> exp.Expr:
        """Without what changes nothing: brackets, casts, a plus, `+ 0`, `* 1`, `|| ''`; `x - x` is 0."""
        node = bare(node)
        while True:
            simpler = bare(self._simpler(node))
            if simpler is node:
                return node
            node = simpler

    def _simpler(self, node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Subquery):
            return _lone_expression(node)
        if isinstance(node, exp.Coalesce):
            first: exp.Expr = node.this
            return first if self.is_key(bare(first)) else node
        if isinstance(node, exp.DPipe):
            return _without_neutral(node, text_of(bare(node.this)), text_of(bare(node.expression)), "")
        if not isinstance(node, exp.Binary) or type(node) in MIRRORED:
            return node
        if isinstance(node, exp.Sub | exp.BitwiseXor) and self.key(bare(node.this)) == self.key(bare(node.expression)):
            return exp.Literal.number(0)
        return _calculated(node)

    def key(self, node: object) -> Key:
        """What is equal for expressions that are the same for every row."""
        if isinstance(node, exp.Column):
            qualifier = node.table.lower()
            return ("column", self.targets.get(qualifier, qualifier), node.name.lower())
        if isinstance(node, exp.Paren | exp.Cast | exp.TryCast):
            return self.key(node.this)
        if isinstance(node, exp.Expr):
            return (type(node).__name__, *(self.key(node.args[each]) for each in sorted(node.args) if node.args[each]))
        if isinstance(node, list):
            return tuple(self.key(each) for each in node)
        return (node.lower() if isinstance(node, str) else node,)

    def negation_key(self, node: exp.Expr) -> Key:
        """The key of its negation."""
        if isinstance(node, exp.Not):
            return self.key(bare(node.this))
        if isinstance(node, exp.Is):
            other = node.copy()
            other.set("negate", not node.args.get("negate"))
            return self.key(other)
        negated = _NEGATED.get(type(node))
        if negated is None:
            return ("Not", self.key(node))
        return (negated.__name__, self.key(self.plain(node.args["expression"])), self.key(self.plain(node.this)))


def bare(node: exp.Expr) -> exp.Expr:
    """Without the brackets, casts and collations around it."""
    while isinstance(node, exp.Paren | exp.Cast | exp.TryCast | exp.Collate):
        node = node.this
    return node


def query_of(node: object) -> exp.Select | None:
    """The query in brackets, None for what is none."""
    while isinstance(node, exp.Subquery | exp.Paren):
        node = node.this
    return node if isinstance(node, exp.Select) and node.expressions else None


def sources(query: exp.Expr) -> frozenset[str]:
    """Names by which a query's own tables can be called, in lower case."""
    found = {each.alias_or_name.lower() for each in query.find_all(exp.Table, exp.Subquery)}
    return frozenset(found | {each.name.lower() for each in query.find_all(exp.Table)})


def asks_outside(query: exp.Expr) -> bool:
    """Whether a query looks at the row outside of it.

    A name with a qualifier tells.  Without one, a condition between two different columns is taken for it.
    """
    own = sources(query)
    if any(each.table and each.table.lower() not in own for each in query.find_all(exp.Column)):
        return True
    return any(_joins_unknown(each) for each in query.find_all(*MIRRORED))


def arms(node: exp.Expr, kind: type[exp.Expr]) -> list[exp.Expr]:
    """What a chain of ANDs or ORs joins; chains lean to the left and may be hundreds long."""
    found: list[exp.Expr] = []
    waiting = [node]
    while waiting:
        one = bare(waiting.pop())
        if isinstance(one, kind):
            waiting += [one.args["expression"], one.this]
        else:
            found.append(one)
    return found


def results(node: exp.Case | exp.If) -> list[exp.Expr]:
    """What a CASE or IF comes to; null where no branch is taken."""
    if isinstance(node, exp.Case):
        return [*(each.args["true"] for each in node.args["ifs"]), node.args.get("default") or exp.Null()]
    return [node.args["true"], node.args.get("false") or exp.Null()]


def _is_query(node: exp.Expr) -> bool:
    return isinstance(node, exp.Query | exp.Subquery)


def _joins_unknown(node: exp.Expr) -> bool:
    left, right = bare(node.this), bare(node.args["expression"])
    if not (isinstance(left, exp.Column) and isinstance(right, exp.Column)):
        return False
    return not (left.table and right.table) and (left.name.lower(), left.table) != (right.name.lower(), right.table)


def _singular(name: str) -> str:
    last = name.rpartition(".")[2]
    return f"{last[:-3]}y" if last.endswith("ies") else last.removesuffix("s")


def _lone_expression(node: exp.Subquery) -> exp.Expr:
    """What `(SELECT x)` comes to."""
    query = query_of(node)
    if query is None or len(query.expressions) != 1 or query.args.get("from_") or query.args.get("where"):
        return node
    chosen: exp.Expr = query.expressions[0]
    return chosen


def _calculated(node: exp.Binary) -> exp.Expr:
    left, right = number_of(bare(node.this)), number_of(bare(node.expression))
    if isinstance(node, exp.Mul | exp.BitwiseAnd) and 0 in {left, right}:
        return exp.Literal.number(0)
    if isinstance(node, exp.Add | exp.BitwiseOr):
        return _without_neutral(node, left, right, 0)
    if isinstance(node, exp.Mul):
        return _without_neutral(node, left, right, 1)
    if isinstance(node, exp.Sub):
        return _without_neutral(node, None, right, 0)
    return _without_neutral(node, None, right, 1) if isinstance(node, exp.Div) else node


def _without_neutral(node: exp.Binary, left: object, right: object, neutral: object) -> exp.Expr:
    """One side, where the other changes nothing."""
    kept = node.this if right == neutral else node.expression if left == neutral else node
    return kept if isinstance(kept, exp.Expr) else node
