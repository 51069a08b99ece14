"""A policy follows its files, whatever becomes of them, and the last good one decides meanwhile (POL-1)."""

import logging
import mmap
import os
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from opentelemetry.sdk.resources import Resource

from callgate.policy.compile import Policy, load_policy
from callgate.policy_files import Look, PolicyFiles, Reading, policy_files
from callgate.policy_source import PolicySource, Stillness, WatchLimits, in_force
from callgate.telemetry.metrics import Metrics
from callgate.yaml_strict import Problem
from support.policies import FAULTS, WAYS, ConfigMap, digest_of, numbered, rename_over
from support.tls_agent import until

SERVERS = frozenset({"ledger"})
# Looks only when it is told to.
WHEN_ASKED = WatchLimits(every_s=3600, settle_s=0, again_s=0)


def opened(files: PolicyFiles, limits: WatchLimits | None = None, what: str = "policy") -> PolicySource:
    policy = files.load()
    assert not isinstance(policy, tuple), policy
    return PolicySource(files, policy, limits=limits, what=what)


@asynccontextmanager
async def following(source: PolicySource) -> AsyncIterator[PolicySource]:
    async with trio.open_nursery() as nursery:
        await nursery.start(source.run)
        yield source
        nursery.cancel_scope.cancel()


def written(path: Path, limits: WatchLimits | None = None) -> PolicySource:
    path.write_text(numbered(0))
    return opened(policy_files(path.parent, [path.name], SERVERS), limits)


@asynccontextmanager
async def following_file(path: Path, limits: WatchLimits | None = None) -> AsyncIterator[PolicySource]:
    """Policy number 0, in force."""
    async with following(written(path, limits)) as source:
        yield source


async def until_in_force(source: PolicySource, text: str) -> None:
    await until(lambda: source.current.digest == digest_of(text) and not source.problem)


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


# The ways in which files change.


@pytest.mark.parametrize("way", WAYS)
async def test_a_changed_file_is_in_force(tmp_path: Path, way: str) -> None:
    async with following_file(tmp_path / "policy.yaml") as source:
        for number in range(1, 5):
            WAYS[way](tmp_path / "policy.yaml", numbered(number))
            await until_in_force(source, numbered(number))
        assert (source.reloads.ok, source.stale_since) == (4, None)


@pytest.mark.parametrize("named", ["etc/policy.yaml", "etc"])
async def test_a_swapped_configmap_is_in_force(tmp_path: Path, named: str) -> None:
    mounted = ConfigMap(tmp_path / "etc", {"policy.yaml": numbered(0)})
    async with following(opened(policy_files(tmp_path, [named], SERVERS))) as source:
        for number in range(1, 5):
            mounted.update({"policy.yaml": numbered(number)})
            await until_in_force(source, numbered(number))
    assert source.reloads.refused == 0


async def test_files_that_come_and_go_in_a_folder_are_in_force(tmp_path: Path) -> None:
    other = numbered(0).replace("id: billing", "id: other").replace("nobody", "no")
    mounted = ConfigMap(tmp_path / "etc", {"a.yaml": numbered(0)})
    async with following(opened(policy_files(tmp_path, ["etc"], SERVERS))) as source:
        mounted.update({"a.yaml": numbered(0), "b.yaml": other})
        await until(lambda: source.current.count("grant") == 2)
        mounted.update({"b.yaml": other})
        await until_in_force(source, other)
        # Only all of them together are a policy: twice the same names are not.
        mounted.update({"b.yaml": other, "c.yaml": other})
        await until(lambda: source.problem != "")
        assert source.current.digest == digest_of(other)


async def test_contents_that_change_within_one_step_of_the_file_systems_clock_are_in_force() -> None:
    # What is stored through a mapping changes no time of a file that lies in memory, as if no time had passed.
    path = Path("/dev/shm") / f"callgate-{os.getpid()}.yaml"  # noqa: S108  # the one place that is sure to be memory
    try:
        async with following_file(path) as source:
            WAYS["renamed over"](path, numbered(1))
            await until_in_force(source, numbered(1))
            files = policy_files(path.parent, [path.name])
            before = files.look()
            with path.open("r+b") as opened_file, mmap.mmap(opened_file.fileno(), 0) as stored:
                # The first that is stored is what the kernel notices.
                for number in (3, 5):
                    before = files.look()
                    stored[:] = numbered(number).encode()
                    await until_in_force(source, numbered(number))
                assert files.look() == before
    finally:
        path.unlink()


async def test_a_policy_that_changed_between_the_start_and_the_first_look_is_in_force(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(numbered(0))
    source = PolicySource.open(policy_files(tmp_path, ["policy.yaml"], SERVERS))
    assert isinstance(source, PolicySource)
    rename_over(path, numbered(1))
    async with following(source):
        await until_in_force(source, numbered(1))


def test_a_policy_that_is_not_good_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("")
    found = PolicySource.open(policy_files(tmp_path, ["a.yaml", "b.yaml"], SERVERS))
    assert isinstance(found, tuple)
    assert [problem.message for problem in found] == ["cannot be read: No such file or directory", "is empty"]


# What must not be in force.


@pytest.mark.parametrize("fault", FAULTS)
async def test_the_last_good_policy_decides_while_the_file(
    tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    break_it, words = FAULTS[fault]
    path = tmp_path / "policy.yaml"
    caplog.set_level(logging.INFO, "callgate")
    async with following_file(path) as source:
        good, before = source.current, time.time()
        break_it(path)
        await until(lambda: source.problem != "")
        assert source.current is good
        assert source.problem.startswith(f"{path}{words}")
        assert "\n" not in source.problem
        assert source.stale_since is not None
        assert before <= source.stale_since <= time.time()
        assert (source.reloads.ok, source.reloads.refused) == (0, 1)
        (said,) = errors(caplog)
        assert said == source.note
        assert said.startswith(f"policy: {source.problem}; {good.digest}, in force since 20")

        if path.is_dir():
            path.rmdir()
        path.unlink(missing_ok=True)
        path.write_text(numbered(0))
        await until(lambda: source.problem == "")
        assert source.current is good
        assert source.stale_since is None
        assert source.note == ""
        assert source.reloads.ok == 1
        assert caplog.messages[-1] == f"policy still in force: {good.digest}; grants: 1, denials: 1"


async def test_each_new_problem_is_told_and_the_first_counts_for_how_long_it_lasts(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limits = WatchLimits(complain_every_s=0)
    async with following_file(tmp_path / "policy.yaml", limits) as source:
        rename_over(tmp_path / "policy.yaml", "")
        await until(lambda: source.reloads.refused == 1)
        since = source.stale_since
        rename_over(tmp_path / "policy.yaml", "[]\n")
        await until(lambda: source.reloads.refused == 2)
        await until(lambda: len(errors(caplog)) == 2)
        assert source.stale_since == since
        assert errors(caplog)[1] == source.note


async def test_says_no_more_than_so_much_about_what_is_wrong_but_the_last_of_it_in_the_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "policy.yaml"
    async with following_file(path, WatchLimits(complain_every_s=1)) as source:
        started = time.monotonic()
        for number in range(8):
            rename_over(path, numbered(0).replace("version: 1", f"version: {number + 2}"))
            await until(lambda wanted=number: source.reloads.refused > wanted)  # type: ignore[misc]
        await until(lambda: bool(errors(caplog)) and errors(caplog)[-1] == source.note)
        assert "it is 9" in source.note
        assert len(errors(caplog)) <= 2 + (time.monotonic() - started)


async def test_the_digest_and_the_counts_of_what_is_put_in_force_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "callgate")
    async with following_file(tmp_path / "policy.yaml") as source:
        rename_over(tmp_path / "policy.yaml", numbered(1))
        await until_in_force(source, numbered(1))
    assert caplog.messages == [f"policy in force: {digest_of(numbered(1))}; grants: 1, denials: 1"]


# Files that do not come to rest.


async def test_a_file_that_is_still_being_written_is_left_alone(tmp_path: Path) -> None:
    """Each part of it would be a policy, too, and the first of them one without its denial."""
    path = tmp_path / "policy.yaml"
    grants, _, denials = numbered(2).partition("denials:")
    seen = set()
    async with following_file(path, WatchLimits(settle_s=0.4, unrest_s=0.5)) as source:
        with path.open("w") as file:
            file.write(grants)
            file.flush()
            while not source.problem:
                seen.add(source.current.digest)
                await trio.sleep(0.002)
                file.write("#\n")
                file.flush()
            seen.add(source.current.digest)
            assert source.problem == f"{path}: changes all the time and cannot be read"
            assert seen == {digest_of(numbered(0))}
            file.write(f"denials:{denials}")
        await until(lambda: source.problem == "")
        assert source.current.count("denial") == 1
        assert (source.current.digest, source.reloads.ok) == (digest_of(path.read_text()), 1)


async def test_who_replaces_a_file_all_the_time_does_not_keep_an_old_policy_in_force(tmp_path: Path) -> None:
    async with following_file(tmp_path / "policy.yaml") as source:
        number = 0
        with trio.fail_after(30):
            while source.reloads.ok < 3:
                number += 1
                rename_over(tmp_path / "policy.yaml", numbered(number))
                await trio.sleep(0.01)
        assert source.reloads.refused == 0


def looks(*states: tuple[int, ...]) -> list[Look]:
    return [Look(((Path("p"), state),)) for state in states]


def file(inode: int, size: int, changed: int = 0) -> tuple[int, ...]:
    return (1, inode, 0o644, size, size, changed)


def rests(*states: tuple[int, ...]) -> list[bool]:
    """At each of these looks, a tenth of a second apart."""
    stillness = Stillness(WatchLimits(unrest_s=0.3))
    return [stillness.take(look, number / 10) for number, look in enumerate(looks(*states))]


def test_files_rest_when_two_looks_agree() -> None:
    assert rests(file(1, 5), file(1, 5), file(1, 6), file(1, 6)) == [False, True, False, True]


def test_files_that_are_only_replaced_are_read_after_a_while() -> None:
    assert rests(*(file(number, 5) for number in range(6))) == [False, False, False, True, True, True]


def test_a_file_that_is_written_is_not_read_however_long_that_takes() -> None:
    assert not any(rests(*(file(1, size) for size in range(100))))


def test_a_file_that_comes_and_goes_and_is_not_written_is_read_after_a_while() -> None:
    assert rests(file(1, 5), (2,), file(2, 5), (2,), file(3, 5)) == [False, False, False, True, True]


# Asked to look.


async def test_looks_at_once_when_asked_and_says_what_came_of_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "callgate")
    async with following_file(tmp_path / "policy.yaml", WHEN_ASKED) as source:
        still = f"policy still in force: {source.current.digest}; grants: 1, denials: 1"
        source.reload_now()
        await until(lambda: caplog.messages == [still])
        rename_over(tmp_path / "policy.yaml", "")
        for count in (1, 2):
            source.reload_now()
            await until(lambda count=count: len(errors(caplog)) == count)  # type: ignore[misc]
        rename_over(tmp_path / "policy.yaml", numbered(1))
        source.reload_now()
        await until_in_force(source, numbered(1))


async def test_a_question_that_comes_before_the_start_is_answered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "callgate")
    (tmp_path / "policy.yaml").write_text(numbered(0))
    source = opened(policy_files(tmp_path, ["policy.yaml"], SERVERS), WHEN_ASKED)
    source.reload_now()
    async with following(source):
        await until(lambda: len(caplog.messages) == 1)


# A file system that does not answer, and the end.


@dataclass(frozen=True)
class Hanging(PolicyFiles):
    """Files on a server that is away for a while."""

    answers: threading.Event = threading.Event()  # noqa: RUF009  # one for the class is enough

    def look(self) -> Look:
        self.answers.wait()
        return PolicyFiles.look(self)


async def test_a_file_system_that_does_not_answer_is_told_of_and_holds_up_nothing(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(numbered(0))
    policy = load_policy(numbered(0), "policy.yaml", SERVERS)
    assert not isinstance(policy, tuple)
    files = Hanging((tmp_path / "policy.yaml",), SERVERS)
    source = PolicySource(files, policy, limits=WatchLimits(patience_s=0.1, again_s=0))
    try:
        async with following(source):
            await until(lambda: source.problem != "")
            assert source.problem == f"{tmp_path}/policy.yaml: cannot be read within 0.1 s"
            with trio.fail_after(1):
                await trio.sleep(0.3)
            for _ in range(2):
                files.answers.set()
                await until(lambda: source.problem == "")
                files.answers.clear()
                await until(lambda: source.problem != "")
        # It is over although the thread still waits.
        assert source.current is policy
    finally:
        files.answers.set()


@dataclass(frozen=True)
class Observed(PolicyFiles):
    """Files that count how often they are looked at and compiled, and of which a policy may come that breaks us."""

    looks: list[None] = field(default_factory=list)
    compilations: list[None] = field(default_factory=list)

    def look(self) -> Look:
        self.looks.append(None)
        return PolicyFiles.look(self)

    def compiled(self, reading: Reading) -> Policy | tuple[Problem, ...]:
        self.compilations.append(None)
        if any("break us" in text for _, text in reading.texts):
            raise RecursionError("of what a policy says")
        return PolicyFiles.compiled(self, reading)

    async def when_looked_at_again(self) -> None:
        seen = len(self.looks)
        await until(lambda: len(self.looks) > seen + 5)


async def test_what_does_not_change_is_compiled_and_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(numbered(0))
    files = Observed((path,), SERVERS)
    source = PolicySource.open(files)
    assert isinstance(source, PolicySource)
    async with following(source):
        await files.when_looked_at_again()
        assert len(files.compilations) == 1
        rename_over(path, "")
        await until(lambda: source.problem != "")
        await files.when_looked_at_again()
        assert len(files.compilations) == 2
        assert (source.reloads.ok, source.reloads.refused) == (0, 1)


async def test_a_fault_of_our_own_ends_neither_the_gate_nor_the_watch_and_shows_no_text(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(numbered(0))
    async with following(opened(Observed((path,), SERVERS))) as source:
        rename_over(path, "# break us")
        await until(lambda: source.problem != "")
        assert source.problem.startswith(f"{path}: cannot be made into a policy: RecursionError in Observed.compiled:")
        assert "says" not in source.note
        assert (source.current.digest, source.reloads.refused) == (digest_of(numbered(0)), 1)
        rename_over(path, numbered(1))
        await until_in_force(source, numbered(1))


async def test_ends_at_once_and_keeps_its_policy(tmp_path: Path) -> None:
    with trio.fail_after(5):
        async with following_file(tmp_path / "policy.yaml") as source:
            rename_over(tmp_path / "policy.yaml", numbered(1))
            await until_in_force(source, numbered(1))
    assert source.current.digest == digest_of(numbered(1))


# What others ask of it.


async def test_who_asks_for_the_policy_in_force_gets_that_of_the_moment(tmp_path: Path) -> None:
    async with following_file(tmp_path / "policy.yaml") as source:
        ask = in_force(source)
        assert ask() is source.current
        rename_over(tmp_path / "policy.yaml", numbered(1))
        await until_in_force(source, numbered(1))
        assert ask().digest == digest_of(numbered(1))
        assert in_force(source.current)() is source.current


async def test_metrics_tell_of_reloads_and_of_how_long_the_files_have_been_wrong(tmp_path: Path) -> None:
    async with following_file(tmp_path / "policy.yaml") as source:
        metrics = Metrics(Resource({}), policies={"enforced": source})

        def told() -> dict[tuple[str, str], float]:
            (group,) = metrics.collect().resource_metrics
            return {
                (metric.name, str((point.attributes or {}).get("callgate.policy.outcome", ""))): point.value  # type: ignore[union-attr]
                for metric in group.scope_metrics[0].metrics
                if metric.name.startswith("callgate.policy.")
                for point in metric.data.data_points
            }

        reloads = "callgate.policy.reloads"
        fresh = {(reloads, "ok"): 0, (reloads, "refused"): 0, ("callgate.policy.stale", ""): 0}
        assert told() == fresh
        rename_over(tmp_path / "policy.yaml", numbered(1))
        await until_in_force(source, numbered(1))
        assert told() == fresh | {(reloads, "ok"): 1}
        rename_over(tmp_path / "policy.yaml", "")
        await until(lambda: source.problem != "")
        await until(lambda: told()["callgate.policy.stale", ""] > 0.05)
        assert (told()[reloads, "ok"], told()[reloads, "refused"]) == (1, 1)
