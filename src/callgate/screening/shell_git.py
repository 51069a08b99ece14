"""git and its kin: what each command does to a repository, and what its settings make it run (git(1), git-config(1))."""

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from callgate.screening.shell_facts import Fact, fact_of
from callgate.screening.shell_options import Given, options_of, read_options
from callgate.screening.shell_state import State, is_exact
from callgate.screening.shell_terms import INPUT
from callgate.screening.shell_wrappers import note_options

_GLOBAL: Final = options_of(
    "C: c: config-env:=planted_code exec-path? git-dir: work-tree: namespace: super-prefix: list-cmds: attr-source: "
    "p paginate P no-pager bare no-replace-objects no-optional-locks literal-pathspecs glob-pathspecs icase-pathspecs version v help h html-path man-path info-path".replace(
        "=exec", ""
    )
)
# Settings that only change what one sees or is asked.
_HARMLESS_SETTING: Final = re.compile(
    r"(?:color|column|advice|log|user|blame|format|i18n|status|grep|interactive|versionsort|gui|push\.default|pull\.(?:rebase|ff)|init\.defaultbranch"
    r"|fetch\.(?:prune|parallel)|merge\.(?:ff|conflictstyle|stat|renamelimit)|rebase\.(?:autostash|autosquash|stat)|diff\.(?:renames|renamelimit|algorithm|colormoved|mnemonicprefix"
    r"|noprefix|context|wserrorhighlight|statgraphwidth)|core\.(?:quotepath|autocrlf|eol|safecrlf|abbrev|ignorecase|filemode|precomposeunicode|untrackedcache|preloadindex"
    r"|bare|logallrefupdates|commentchar|whitespace|excludesfile|symlinks|longpaths)|rerere\.enabled|commit\.(?:gpgsign|verbose)|tag\.(?:sort|gpgsign)|branch\.(?:sort|autosetupmerge|autosetuprebase)"
    r"|pack\.(?:threads|windowmemory)|gc\.auto|feature\..*|safe\.directory|http\.(?:sslverify|timeout|lowspeedlimit|lowspeedtime|postbuffer|version)|transfer\.fsckobjects|submodule\.fetchjobs"
    r"|help\.autocorrect|credential\.usehttppath|branch\.[^=]*\.(?:remote|merge|description)|remote\.[^=]*\.(?:fetch|push|tagopt|prune))(?:\.[^=]*)?",
    re.IGNORECASE,
)
# Settings whose harmless values turn something off, or name a plain pager.
_HARMLESS_VALUE: Final = re.compile(
    r"(?:core\.pager|pager\.[a-z-]+)=(?:cat|less|false|true|)|core\.fsmonitor=(?:false|true)|protocol\.version=[012]",
    re.IGNORECASE,
)
_COMMANDS: Final = """
log show diff whatchanged diff-tree diff-files diff-index range-diff format-patch ; ; output:=write_to ext-diff=planted_code o:=write_to output-directory:=write_to n: S: G: L: U: format: pretty: author: since: until: after: before: grep: date:
status blame annotate shortlog describe rev-parse ls-files ls-tree rev-list name-rev merge-base for-each-ref show-ref count-objects check-ignore check-attr check-mailmap verify-commit verify-tag cherry show-branch var version help fsck verify-pack diff-pairs get-tar-commit-id patch-id stripspace column fmt-merge-msg mailsplit-info request-pull show-index ls-remote-local merge-tree for-each-repo-list check-ref-format cat-file whoami - ; ; n: format: batch-check? sort: contains: points-at: filters=planted_code textconv=planted_code
grep ; ; O?=planted_code open-files-in-pager?=planted_code e: f: A: B: C: m: max-depth: threads:
archive ; ; o:=write_to output:=write_to remote:=network exec:=planted_code format: prefix:
add stage commit init mv merge cherry-pick revert apply am notes bundle write-tree commit-tree hash-object mktag mktree update-index unpack-objects index-pack pack-objects pack-refs repack commit-graph multi-pack-index rerere sparse-checkout maintenance merge-file merge-index format-patch-write credential-approve update-server-info switch stash tag branch checkout restore reset rebase config remote worktree submodule bisect reflog clean push symbolic-ref ; write ; m: F: message: file: C: c: reuse-message: author: date: S? gpg-sign? X: s: strategy: strategy-option: b: B: t: template:=planted_code separate-git-dir: initial-branch: u? f: d D f force delete move M copy l list a all r remotes v verbose n dry-run hard keep merge soft mixed cached staged x i e: exec:=planted_code onto: q quiet k p patch j N orphan: contains: sort: format: no-verify detach discard-changes=history
clone ; network+write ; u:=planted_code upload-pack:=planted_code c: config: template:=planted_code b: branch: o: origin: depth: reference: separate-git-dir: shallow-since: filter: j: recurse-submodules? bare mirror
fetch pull ; network+write ; upload-pack:=planted_code f=overwrite force=overwrite p prune P prune-tags=delete depth: j: o: s: X: strategy: refmap: negotiation-tip: all rebase? r?
ls-remote ; network ; upload-pack:=planted_code exec:=planted_code o: sort:
send-email imap-send ; network ; smtp-server:=planted_code sendmail-cmd:=planted_code to-cmd:=planted_code cc-cmd:=planted_code header-cmd:=planted_code
rm prune filter-branch filter-repo replace prune-packed update-ref fast-import read-tree checkout-index lfs-prune ; history
svn p4 cvsimport cvsexportcommit archimport quiltimport remote-http ; network+unknown_script
difftool mergetool daemon instaweb gui gitk citool hook credential credential-store filter-process shell upload-pack receive-pack upload-archive http-backend remote-ext remote-fd sh-setup web--browse cvsserver lfs annex flow ; unknown_script
gc ; write ; prune?=delete aggressive auto force quiet
"""


def _commands() -> dict[str, Fact]:
    found: dict[str, Fact] = {}
    for line in _COMMANDS.strip().splitlines():
        names, _, rest = line.partition(";")
        found.update(dict.fromkeys(names.split(), fact_of(rest)))
    return found


COMMANDS: Final[Mapping[str, Fact]] = MappingProxyType(_commands())


def versioned(state: State, _: str, arguments: Sequence[str], __: str | None) -> None:
    """`git COMMAND`, with the settings and folders that stand before the command."""
    before = read_options(_GLOBAL, arguments, permutes=False)
    note_options(state, before)
    for setting in before.values("c"):
        note_setting(state, setting)
    if any(before.values("exec-path")) or before.unsure:
        state.note("planted_code")
    name, rest = (before.operands or ["-"])[0], before.operands[1:]
    fact = COMMANDS.get(name)
    if fact is None:
        # Perhaps an alias of the repository's, or a program of that name.
        state.note("unknown_verb")
        return
    read = read_options(fact.options, rest)
    fed = fact.options.risky and any(word.startswith(INPUT) for word in rest)
    if fed or (read.unsure and fact.effects):
        state.note("unresolved_option")
    note_options(state, read)
    state.note(*_effects(name, fact, read, rest))
    for setting in read.values("c", "config") if name == "clone" else ():
        note_setting(state, setting)
    for operand in read.operands if "network" in fact.effects else ():
        _note_address(state, operand)


def note_setting(state: State, setting: str) -> None:
    """`name=value` of a setting: whatever is not known to be harmless may run a program."""
    name, _, value = setting.partition("=")
    if not _HARMLESS_VALUE.fullmatch(setting) and not (_HARMLESS_SETTING.fullmatch(name) and not value.startswith("!")):
        state.note("planted_code")


def _note_address(state: State, address: str) -> None:
    """Git's own `ext::` and `fd::` run programs; an address that begins with a dash is an option (CVE-2017-1000117)."""
    if address.startswith(("ext::", "fd::")) or "//-" in address:
        state.note("planted_code")


def _effects(name: str, fact: Fact, read: Given, rest: Sequence[str]) -> Sequence[str]:
    """What a command does; several have forms that only read, and others that destroy."""
    special = _SPECIAL.get(name)
    return special(read, rest) if special else fact.effects


def _push(read: Given, _: Sequence[str]) -> Sequence[str]:
    forces = any(operand.startswith(("+", ":")) for operand in read.operands[1:])
    said = " ".join(name for name, _value in read.said)
    if forces or read.has("f", "force", "d", "delete", "mirror", "prune") or "force" in said or read.unsure:
        return "network", "history"
    return ("network", "planted_code") if read.has("receive-pack", "exec") else ("network", "write")


def _reset(read: Given, _: Sequence[str]) -> Sequence[str]:
    return ("write", "history") if read.has("hard", "keep", "merge") or read.unsure else ("write",)


def _checkout(read: Given, rest: Sequence[str]) -> Sequence[str]:
    creates = read.has("b", "orphan", "t", "track", "detach", "d")
    paths = "--" in rest or len(read.operands) > (2 if creates else 1) or any(map(_is_file, read.operands))
    throws = (
        read.has("f", "force", "B", "p", "patch", "ours", "theirs", "m", "merge", "pathspec-from-file") or read.unsure
    )
    return ("write", "history") if throws or (paths and not creates) else ("write",)


def _is_file(word: str) -> bool:
    """Whether it can be no branch's name (git-check-ref-format(1)), or looks more like a file's."""
    return (
        word in {".", ":/", "HEAD~"}
        or word.startswith((":", "./", "../", "/"))
        or word.endswith("/")
        or not is_exact(word)
        or bool(re.search(r"\.[A-Za-z]{1,5}$", word))
    )


def _switch(read: Given, _: Sequence[str]) -> Sequence[str]:
    return ("write", "history") if read.has("f", "force", "discard-changes", "C", "force-create", "B") else ("write",)


def _restore(read: Given, _: Sequence[str]) -> Sequence[str]:
    only_index = read.has("S", "staged") and not read.has("W", "worktree")
    return ("write",) if only_index else ("write", "history")


def _clean(read: Given, _: Sequence[str]) -> Sequence[str]:
    return () if read.has("n", "dry-run") and not read.unsure else ("delete",)


def _branch(read: Given, _: Sequence[str]) -> Sequence[str]:
    if read.has("d", "D", "delete", "m", "M", "move", "C", "f", "force"):
        return "write", "delete"
    lists = not read.operands or read.has(
        "l",
        "list",
        "a",
        "all",
        "r",
        "remotes",
        "contains",
        "merged",
        "no-merged",
        "show-current",
        "points-at",
        "no-contains",
    )
    return () if lists and not read.has("u", "set-upstream-to", "edit-description", "unset-upstream") else ("write",)


def _tag(read: Given, _: Sequence[str]) -> Sequence[str]:
    if read.has("d", "delete", "f", "force"):
        return "write", "delete"
    lists = not read.operands or read.has(
        "l", "list", "n", "v", "verify", "contains", "merged", "no-merged", "points-at", "sort", "format"
    )
    return () if lists else ("write",)


def _stash(read: Given, _: Sequence[str]) -> Sequence[str]:
    verb = (read.operands or ["push"])[0]
    if verb in {"list", "show"}:
        return ()
    return (
        ("write", "history")
        if verb in {"drop", "clear"}
        else ("write",)
        if verb in {"push", "save", "pop", "apply", "create", "store", "branch"}
        else ("unknown_verb",)
    )


def _remote(read: Given, _: Sequence[str]) -> Sequence[str]:
    verb = (read.operands or ["show"])[0]
    if verb == "show" and len(read.operands) > 1 and not read.has("n"):
        return ("network",)
    return {
        "show": (),
        "get-url": (),
        "add": ("write",),
        "rename": ("write",),
        "set-head": ("write",),
        "set-branches": ("write",),
        "update": ("network", "write"),
    }.get(verb, ("write", "history"))


def _config(read: Given, _: Sequence[str]) -> Sequence[str]:
    reads = read.has(
        "get",
        "get-all",
        "get-regexp",
        "get-urlmatch",
        "l",
        "list",
        "get-color",
        "get-colorbool",
        "show-origin",
        "name-only",
    )
    words = read.operands
    if words[:1] and words[0] in {"get", "list"}:
        return ()
    words = words[1:] if words[:1] == ["set"] else words
    if read.has(
        "unset", "unset-all", "remove-section", "rename-section", "replace-all", "e", "edit", "global-edit"
    ) or words[:1] in (["unset"], ["edit"], ["remove-section"], ["rename-section"]):
        return "write", "planted_code"
    if reads or len(words) == 1:
        return ()
    if len(words) < 2:
        return ("unknown_verb",)
    setting = f"{words[0]}={words[1]}"
    harmless = _HARMLESS_VALUE.fullmatch(setting) or (
        _HARMLESS_SETTING.fullmatch(words[0]) and words[0].lower() not in {"core.excludesfile"}
    )
    alias = (
        words[0].lower().startswith("alias.")
        and is_exact(words[1])
        and not words[1].startswith("!")
        and words[1].split(" ")[0] in {"status", "log", "diff", "show", "branch", "checkout", "commit", "add"}
    )
    return ("write",) if harmless or alias else ("write", "planted_code")


def _worktree(read: Given, _: Sequence[str]) -> Sequence[str]:
    verb = (read.operands or ["list"])[0]
    return {"list": (), "add": ("write",), "lock": ("write",), "unlock": ("write",), "repair": ("write",)}.get(
        verb, ("write", "delete")
    )


def _submodule(read: Given, _: Sequence[str]) -> Sequence[str]:
    verb = (read.operands or ["status"])[0]
    if verb == "foreach":
        return ("unresolved_code",)
    return {
        "status": (),
        "summary": (),
        "init": ("write",),
        "sync": ("write",),
        "add": ("network", "write"),
        "update": ("network", "write"),
        "absorbgitdirs": ("write",),
        "set-branch": ("write",),
    }.get(verb, ("write", "delete"))


def _reflog(read: Given, _: Sequence[str]) -> Sequence[str]:
    return ("history",) if (read.operands or ["show"])[0] in {"expire", "delete", "drop"} else ()


def _bisect(read: Given, _: Sequence[str]) -> Sequence[str]:
    verb = (read.operands or ["help"])[0]
    return (
        ()
        if verb in {"log", "view", "visualize", "help", "terms"}
        else ("unresolved_code",)
        if verb == "run"
        else ("write",)
    )


def _notes(read: Given, _: Sequence[str]) -> Sequence[str]:
    verb = (read.operands or ["list"])[0]
    return (
        ()
        if verb in {"list", "show", "get-ref"}
        else ("write", "delete")
        if verb in {"remove", "prune"}
        else ("write",)
    )


def _bundle(read: Given, _: Sequence[str]) -> Sequence[str]:
    return () if (read.operands or ["verify"])[0] in {"verify", "list-heads"} else ("write",)


def _symbolic_ref(read: Given, _: Sequence[str]) -> Sequence[str]:
    return ("write", "history") if len(read.operands) > 1 or read.has("d", "delete") else ()


def _rebase(read: Given, _: Sequence[str]) -> Sequence[str]:
    if read.has("abort", "quit", "skip") or read.has("x", "i", "interactive"):
        return "write", "history"
    return ("write",) if read.has("continue", "show-current-patch") else ("write", "history")


def _commit(read: Given, _: Sequence[str]) -> Sequence[str]:
    return (
        ("write", "history")
        if read.has("amend")
        else ()
        if read.has("dry-run", "n") and read.has("dry-run")
        else ("write",)
    )


def _apply(read: Given, _: Sequence[str]) -> Sequence[str]:
    only_tells = read.has("stat", "numstat", "summary", "check") and not read.has("apply")
    return () if only_tells else ("write",)


def _hash_object(read: Given, _: Sequence[str]) -> Sequence[str]:
    return ("write",) if read.has("w") else ()


def _format_patch(read: Given, _: Sequence[str]) -> Sequence[str]:
    return () if read.has("stdout") else ("write",)


def _maintenance(read: Given, _: Sequence[str]) -> Sequence[str]:
    return ("write", "schedule") if (read.operands or ["run"])[0] in {"start", "register"} else ("write",)


_SPECIAL: Final = MappingProxyType(
    {
        "push": _push, "reset": _reset, "checkout": _checkout, "switch": _switch, "restore": _restore, "clean": _clean, "branch": _branch,
        "tag": _tag, "stash": _stash, "remote": _remote, "config": _config, "worktree": _worktree, "submodule": _submodule,
        "reflog": _reflog, "bisect": _bisect, "notes": _notes, "bundle": _bundle, "symbolic-ref": _symbolic_ref, "rebase": _rebase,
        "commit": _commit, "apply": _apply, "hash-object": _hash_object, "format-patch": _format_patch, "maintenance": _maintenance,
    }
)  # fmt: skip
