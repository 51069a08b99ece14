"""Whether a WHERE restricts: which rows a condition holds for, as far as its text tells."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

from callgate.screening.sql_constants import MATCHES_ALL, compare, leave_nothing_out, number_of, text_of
from callgate.screening.sql_expressions import MIRRORED, Expressions, Key, arms, bare, query_of, results, sources
from callgate.screening.sql_tree import exp

# Beyond it a bound on a key restricts nobody: 32 bits and the habit of nines.
_LARGE_KEY: Final = 999_999_999


class Rows(Enum):
    """Which rows a condition holds for.  CONSTANT: all or none, whichever it is."""

    ALL = "all"
    NONE = "none"
    SOME = "some"
    CONSTANT = "constant"


_OPPOSITE: Final = {Rows.ALL: Rows.NONE, Rows.NONE: Rows.ALL, Rows.SOME: Rows.SOME, Rows.CONSTANT: Rows.CONSTANT}
_ALWAYS: Final = frozenset({Rows.ALL, Rows.CONSTANT})
_PATTERNS: Final = (exp.Like, exp.ILike, exp.Glob, exp.SimilarTo, exp.RegexpLike, exp.RegexpILike)
# In the place of a condition, a number that is not zero is true.
_ARITHMETIC: Final = (
    exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.IntDiv, exp.BitwiseAnd, exp.BitwiseOr, exp.BitwiseXor,
    exp.BitwiseNot, exp.BitwiseLeftShift, exp.BitwiseRightShift, exp.Neg,
)  # fmt: skip
_NULL_SAFE: Final[Mapping[type[exp.Expr], type[exp.Expr]]] = {exp.NullSafeEQ: exp.EQ, exp.NullSafeNEQ: exp.NEQ}
# The least of all is no more than each.
_EXTREMES: Final[Mapping[type[exp.Expr], type[exp.Expr]]] = {exp.GTE: exp.Min, exp.LTE: exp.Max}
# What a query may not do if its rows are to be all of its table's.
_SHAPES: Final = ("limit", "offset", "group", "having", "joins", "qualify")


class Condition:
    """Reads conditions over the rows of `targets`, as `Expressions` has them."""

    def __init__(self, targets: Mapping[str, str]) -> None:
        self._of = Expressions(targets)
        # What was read already: a branch of a CASE is asked for twice, and one within another would be four times.
        self._read: dict[int, tuple[exp.Expr, Rows]] = {}

    def restricts(self, node: exp.Expr) -> bool:
        """Whether it leaves rows out.  Raises RecursionError for what nests too deeply."""
        return self.rows(node) not in _ALWAYS

    def rows(self, node: exp.Expr) -> Rows:
        """Which rows it holds for.  Raises RecursionError for what nests too deeply."""
        node = bare(node)
        if id(node) not in self._read:
            self._read[id(node)] = (node, self._rows(node))
        return self._read[id(node)][1]

    def _rows(self, node: exp.Expr) -> Rows:  # noqa: PLR0911  # a table of kinds of conditions
        # What most conditions are made of: a common column against a constant.
        if (
            type(node) in MIRRORED
            and type(node.args["expression"]) is exp.Literal
            and self._of.is_common_column(node.this)
        ):
            return Rows.SOME
        match node:
            case exp.And():
                return _all_of([self.rows(each) for each in arms(node, exp.And)])
            case exp.Or():
                return self._any_of(arms(node, exp.Or))
            case exp.Not():
                return _OPPOSITE[self.rows(node.this)]
            case exp.Boolean():
                return Rows.ALL if node.this else Rows.NONE
            case exp.Null():
                return Rows.NONE
            case exp.Literal():
                return Rows.NONE if number_of(node) == 0 else Rows.CONSTANT
            case _:
                return self._of_rows(node) if self._of.sees_rows(node) else _constant(node)

    def _any_of(self, joined: Sequence[exp.Expr]) -> Rows:
        found = [self.rows(each) for each in joined]
        for verdict in (Rows.ALL, Rows.CONSTANT):
            if verdict in found:
                return verdict
        if Rows.SOME not in found:
            return Rows.NONE
        return Rows.ALL if self._covers(joined) else Rows.SOME

    def _of_rows(self, node: exp.Expr) -> Rows:  # noqa: PLR0911  # a table of kinds of conditions
        if isinstance(node, exp.Binary) and type(node) in MIRRORED:
            return self._comparison(node)
        if isinstance(node, _PATTERNS):
            return self._pattern(node)
        match node:
            case exp.Is():
                found = self._is_so(node)
                return _OPPOSITE[found] if node.args.get("negate") else found
            case exp.In():
                return self._in(node)
            case exp.Between():
                return self._between(node)
            case exp.Case() | exp.If():
                return self._branches(node)
            case exp.Column():
                return Rows.ALL if self._of.is_key(node) else Rows.SOME
            case exp.Xor():
                return Rows.CONSTANT
            case _:
                return Rows.ALL if isinstance(node, _ARITHMETIC) else Rows.SOME

    # Comparisons

    def _comparison(self, node: exp.Binary) -> Rows:
        kind = _NULL_SAFE.get(type(node), type(node))
        left, right = self._of.plain(node.this), self._of.plain(node.expression)
        if isinstance(left, exp.Null):
            left, right = right, left
        if isinstance(right, exp.Any | exp.All):
            return self._quantified(node, left, right)
        if isinstance(right, exp.Null):
            found = self._is_so(exp.Is(this=left.copy(), expression=exp.Null()))
            return _OPPOSITE[found] if kind is exp.NEQ else found
        (left_key, left_plus), (right_key, right_plus) = self._of.shifted(left), self._of.shifted(right)
        if left_key == right_key:
            return Rows.ALL if compare(kind, left_plus, right_plus) else Rows.NONE
        if self._is_own_extreme(kind, left, right):
            return Rows.ALL
        if number_of(left) is not None or text_of(left) == "":
            left, right, kind = right, left, MIRRORED[kind]
        return self._against(kind, left, right)

    def _against(self, kind: type[exp.Expr], left: exp.Expr, right: exp.Expr) -> Rows:
        """Compared with something that may be a number."""
        if isinstance(left, exp.Case | exp.If) and all(bare(each) == bare(right) for each in results(left)):
            return Rows.ALL
        number = number_of(right)
        if number is None:
            return Rows.ALL if kind is exp.NEQ and text_of(right) == "" and self._of.is_key(left) else Rows.SOME
        left, plus = self._of.base(left)
        number, is_key = number - plus, self._of.is_key(left)
        never_negative = is_key or isinstance(left, exp.Length | exp.Abs | exp.Count | exp.Rand)
        if never_negative and _holds_from(kind, number, least=1 if is_key else 0):
            return Rows.ALL
        if is_key and kind in {exp.LT, exp.LTE, exp.NEQ} and number >= _LARGE_KEY:
            return Rows.ALL
        none_below = (kind in {exp.EQ, exp.LTE} and number <= 0) or (kind is exp.LT and number <= 1)
        return Rows.NONE if is_key and none_below else Rows.SOME

    def _quantified(self, node: exp.Expr, left: exp.Expr, right: exp.Any | exp.All) -> Rows:
        values = bare(right.this)
        if not isinstance(node, exp.EQ) or not isinstance(right, exp.Any):
            return Rows.SOME
        if isinstance(values, exp.Array | exp.Tuple):
            return Rows.ALL if self._is_among(left, values.expressions) else Rows.SOME
        query = query_of(values)
        return self._in_query(left, query) if query is not None else Rows.SOME

    def _is_among(self, value: exp.Expr, others: Sequence[exp.Expr]) -> bool:
        key = self._of.key(value)
        return any(self._of.key(self._of.plain(each)) == key for each in others)

    def _is_own_extreme(self, kind: type[exp.Expr], left: exp.Expr, right: exp.Expr) -> bool:
        """`id >= (SELECT min(id) FROM t)`, and the like."""
        query = query_of(right)
        wanted = _EXTREMES.get(kind)
        if query is None or wanted is None or query.args.get("where") or not self._is_of_target(query):
            return False
        found = bare(query.expressions[0])
        return isinstance(found, wanted) and self._of.key(self._of.plain(found.this)) == self._of.key(left)

    # The other ways to ask

    def _is_so(self, node: exp.Is) -> Rows:
        left, right = self._of.plain(node.this), bare(node.expression)
        if isinstance(right, exp.Null):
            # A condition is null for next to no row.
            return Rows.NONE if self._of.is_key(left) or isinstance(left, exp.Predicate | exp.Connector) else Rows.SOME
        if isinstance(right, exp.Boolean):
            found = self.rows(left)
            return found if right.this else _OPPOSITE[found]
        return Rows.ALL if self._is_among(left, [right]) else self._against(exp.EQ, left, right)

    def _in(self, node: exp.In) -> Rows:
        left = self._of.plain(node.this)
        query = query_of(node.args.get("query"))
        if query is not None:
            return self._in_query(left, query)
        values = [bare(each) for each in node.expressions]
        if self._is_among(left, values):
            return Rows.ALL
        numbers = [number_of(each) for each in values]
        if values and self._of.is_key(left) and all(each is not None and each <= 0 for each in numbers):
            return Rows.NONE
        return Rows.NONE if values and all(isinstance(each, exp.Null) for each in values) else Rows.SOME

    def _in_query(self, left: exp.Expr, query: exp.Select) -> Rows:
        """A row's own column among those of its own table: every row, unless the query restricts."""
        where = query.args.get("where")
        own = {**self._of.targets, **dict.fromkeys(sources(query), "")}
        verdict = Condition(own).rows(where.this) if where else Rows.ALL
        if verdict is Rows.NONE:
            return Rows.NONE
        chosen = bare(query.expressions[0])
        same = isinstance(chosen, exp.Star) or (
            isinstance(chosen, exp.Column) and chosen.name.lower() == left.name.lower()
        )
        return Rows.ALL if self._is_of_target(query) and same and verdict is not Rows.SOME else Rows.SOME

    def _is_of_target(self, query: exp.Select) -> bool:
        """Whether a query gives one value for each row of the table that is written, or over all of them."""
        source = query.args.get("from_")
        table = source.this if source else None
        if any(query.args.get(each) for each in _SHAPES) or len(query.expressions) != 1:
            return False
        return isinstance(table, exp.Table) and table.name.lower() in self._of.targets

    def _between(self, node: exp.Between) -> Rows:
        value, low, high = (self._of.plain(node.args[each]) for each in ("this", "low", "high"))
        if self._is_among(value, [low]) and self._is_among(value, [high]):
            return Rows.ALL
        least, most = number_of(low), number_of(high)
        if least is None or most is None or not self._of.is_key(value):
            return Rows.SOME
        if least <= 1 and most >= _LARGE_KEY:
            return Rows.ALL
        return Rows.NONE if most <= 0 else Rows.SOME

    def _pattern(self, node: exp.Expr) -> Rows:
        right = self._of.plain(node.args["expression"])
        if isinstance(right, exp.Escape):
            right = self._of.plain(right.this)
        pattern = text_of(right)
        matches_all = pattern is not None and MATCHES_ALL[type(node).__name__](pattern)
        return Rows.ALL if matches_all or self._is_among(self._of.plain(node.this), [right]) else Rows.SOME

    def _branches(self, node: exp.Case | exp.If) -> Rows:
        """CASE and IF: every branch holds, or the first that is taken does."""
        if all(self.rows(each) in _ALWAYS for each in results(node)):
            return Rows.ALL
        if isinstance(node, exp.Case) and node.this is not None:
            return Rows.SOME
        first = node.args["ifs"][0] if isinstance(node, exp.Case) else node
        return self.rows(first.args["true"]) if self.rows(first.this) in _ALWAYS else Rows.SOME

    def _covers(self, joined: Sequence[exp.Expr]) -> bool:
        """Whether each row is in one arm or another: `x OR NOT x`, `a > 1 OR a <= 1`, `a <> 1 OR a <> 2`."""
        seen: set[Key] = set()
        spans: dict[Key, list[tuple[type[exp.Expr], float]]] = {}
        for arm in map(bare, joined):
            if self._of.negation_key(arm) in seen:
                return True
            seen.add(self._of.key(arm))
            number = number_of(bare(arm.args["expression"])) if type(arm) in MIRRORED else None
            if number is not None:
                spans.setdefault(self._of.key(self._of.plain(arm.this)), []).append((type(arm), number))
        return any(leave_nothing_out(each) for each in spans.values())


def _all_of(found: Sequence[Rows]) -> Rows:
    return next((each for each in (Rows.NONE, Rows.SOME, Rows.CONSTANT) if each in found), Rows.ALL)


def _constant(node: exp.Expr) -> Rows:
    if type(node) in MIRRORED:
        left, right = number_of(bare(node.this)), number_of(bare(node.args["expression"]))
        if left is not None and right is not None:
            return Rows.ALL if compare(type(node), left, right) else Rows.NONE
    return Rows.CONSTANT


def _holds_from(kind: type[exp.Expr], number: float, least: int) -> bool:
    """Whether everything from `least` on is on the right side of the number."""
    if kind is exp.GTE:
        return number <= least
    return kind in {exp.GT, exp.NEQ} and number < least
