"""What an INSERT, UPDATE, DELETE or MERGE changes, by its tree: whether its condition leaves rows out."""

from collections.abc import Sequence

from callgate.screening.sql_found import Found
from callgate.screening.sql_lexical import Part
from callgate.screening.sql_restricts import Condition
from callgate.screening.sql_tree import Tree, exp
from callgate.screening.sql_words import SYSTEM_SCHEMAS, SYSTEM_TABLES


def read_insert(root: exp.Expr, parts: Sequence[Part]) -> Found:
    """INSERT, INSERT ALL, and REPLACE as the parser has it."""
    found = Found("insert", writes=True)
    head = {part.word for part in parts[:5]}
    if parts[0].word == "replace" or "overwrite" in head or {"or", "replace"} <= head:
        found.blame("overwrite")
    if isinstance(root, exp.MultitableInserts):
        return found
    if root.args.get("is_function"):
        found.blame("file_access")
    if root.args.get("expression") is None and not root.args.get("default"):
        found.blame("unparsable")
    return _of_system(found, root)


def read_change(root: exp.Update | exp.Delete, tree: Tree) -> Found:
    """UPDATE and DELETE."""
    found = _of_system(Found("update" if isinstance(root, exp.Update) else "delete", writes=True), root)
    assignments = root.expressions if isinstance(root, exp.Update) else [exp.EQ()]
    if not assignments or not all(isinstance(each, exp.Binary) for each in assignments):
        found.blame("unparsable")
    where = root.args.get("where")
    if where is None:
        return found.blame("no_where")
    targets = _targets(root, tree)
    if not Condition(targets).restricts(where.this) or _looks_elsewhere(tree, where, targets):
        found.blame("always_true")
    return found


def _of_system(found: Found, root: exp.Expr) -> Found:
    target = root.this.find(exp.Table) if isinstance(root.this, exp.Expr) else None
    if target is not None and (target.db.lower() in SYSTEM_SCHEMAS or target.name.lower() in SYSTEM_TABLES):
        found.blame("system_table")
    return found


def _targets(root: exp.Expr, tree: Tree) -> dict[str, str]:
    """What the tables that are written may be called, each with the one name that counts: "" if there is only one."""
    named = [each for each in (*(root.args.get("tables") or ()), root.this) if isinstance(each, exp.Table)]
    written = {each.alias_or_name.lower() for each in (named[:-1] or named)}
    found: dict[str, str] = {}
    for table in (*tree.named, *named):
        called = {table.name.lower(), table.alias_or_name.lower()}
        if called & written and (table.alias_or_name.lower() in written or not table.alias):
            found |= dict.fromkeys(called, table.alias_or_name.lower())
    return found if len(set(found.values())) > 1 else dict.fromkeys((*found, ""), "")


def _looks_elsewhere(tree: Tree, where: exp.Expr, targets: dict[str, str]) -> bool:
    """Whether a condition tells other tables' rows apart, and none of the table that is written."""
    others = tree.root.args.get("from_") or tree.root.args.get("using") or tree.joins
    if not others or any(each.args.get("on") or each.args.get("using") for each in tree.joins):
        return False
    return _qualifies_others(where, targets)


def _qualifies_others(condition: exp.Expr, targets: dict[str, str]) -> bool:
    qualifiers = {column.table.lower() for column in condition.find_all(exp.Column)}
    return bool(qualifiers) and "" not in qualifiers and qualifiers.isdisjoint(targets)


def read_merge(root: exp.Merge, parts: Sequence[Part]) -> Found:
    """MERGE: what it deletes, and whether what it changes is told apart from the rest."""
    found = _of_system(Found("merge", writes=True), root)
    targets = dict.fromkeys(({root.this.name.lower(), root.this.alias.lower(), ""}), "")
    condition = root.args.get("on")
    changes_all = (
        condition is None or not Condition(targets).restricts(condition) or _qualifies_others(condition, targets)
    )
    for when in root.find_all(exp.When):
        if isinstance(when.args.get("then"), exp.Update) and (when.args.get("source") or changes_all):
            found.blame("merge_all")
    # Of a branch, or behind Oracle's UPDATE SET …: DELETE WHERE ….
    if "delete" in {part.word for part in parts}:
        found.blame("merge_delete")
    return found
