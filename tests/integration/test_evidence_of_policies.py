"""Which policy decided is on record with its text, and recorded calls say what another policy would have decided."""

import json
from hashlib import sha256
from pathlib import Path

import yaml

from callgate.policy_files import policy_files
from callgate.policy_source import PolicySource
from support.desk import Desk, Refused, Told, desk_behind_gate
from support.on_record import Record, callgate, on_record, records_in, until
from support.policies import digest_of, numbered, rename_over
from support.raw_agent import modern_call

AGENT = "spiffe://acme.test/ns/billing/sa/refund-agent"
BILLING = "spiffe://acme.test/ns/billing/**"
# Both letting and not letting, and more than anybody uses.
WIDE = f"""
version: 1
trust_domains: [acme.test]
grants:
  - id: billing
    workloads: ["{BILLING}"]
    server: ledger
    tools: ["*"]
  - id: ops-look
    workloads: ["spiffe://acme.test/ns/ops/**"]
    server: ledger
    tools: [list_invoices]
  - id: nobody-yet
    workloads: ["spiffe://acme.test/ns/sales/**"]
    server: ledger
    tools: [get_invoice]
denials:
  - id: nobody-wipes-the-ledger
    server: ledger
    tools: [wipe_ledger]
"""
NO_REFUNDS = WIDE.replace('tools: ["*"]', "tools: [list_invoices, get_invoice]")


async def test_a_policy_is_on_record_before_the_first_decision_under_it_and_its_text_is_kept(tmp_path: Path) -> None:
    """Each of three in turn, the first of them twice."""
    path = tmp_path / "policy.yaml"
    texts = [numbered(0), numbered(1), numbered(0), numbered(2)]
    path.write_text(texts[0])
    source = PolicySource.open(policy_files(tmp_path, ["policy.yaml"], frozenset({"ledger"})))
    assert isinstance(source, PolicySource)
    async with on_record(tmp_path, policy=source) as at, at.agent() as agent:
        for text in texts:
            rename_over(path, text)
            await until(lambda text=text: source.current.digest == digest_of(text))  # type: ignore[misc]
            await agent.ask(modern_call("get_invoice"))
            await agent.ask(modern_call("list_invoices"))
        await at.calls(3 + 4)
        await until(lambda: len(list((at.folder / "policies").glob("*.yaml"))) == 3)
    records = records_in(at.folder)
    said = [record["digest"] for record in records if record["kind"] == "policy"]
    assert said == [digest_of(text) for text in texts]
    in_force = ""
    for record in records:
        in_force = record["digest"] if record["kind"] == "policy" else in_force
        assert record.get("policy", in_force) == in_force or record["kind"] == "start"
    for record in records:
        for file in record["files"] if record["kind"] == "policy" else ():
            kept = (at.folder / "policies" / f"{file['sha256']}.yaml").read_bytes()
            assert sha256(kept).hexdigest() == file["sha256"] == record["digest"].removeprefix("sha256:")
            assert kept.decode() in texts


async def test_a_text_that_could_not_be_kept_is_kept_when_the_gate_is_stopped(tmp_path: Path) -> None:
    """Nobody has it any more where it is not: the next gate may begin with another policy."""
    policies = tmp_path / "home" / "audit" / "policies"
    policies.parent.mkdir(parents=True)
    policies.touch()
    async with on_record(tmp_path, policy=numbered(0), home=tmp_path / "home") as at:
        async with at.agent() as agent:
            assert (await agent.ask(modern_call("get_invoice"))).status == 200
        await at.calls(1)
        policies.unlink()
    assert [path.read_text() for path in policies.iterdir()] == [numbered(0)]


async def test_an_old_decision_is_explained_by_the_policy_of_then(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(numbered(1))
    source = PolicySource.open(policy_files(tmp_path, ["policy.yaml"], frozenset({"ledger"})))
    assert isinstance(source, PolicySource)
    async with on_record(tmp_path, policy=source) as at, at.agent() as agent:
        refused = (await agent.ask(modern_call("get_invoice"))).message["error"]["data"]
        rename_over(path, numbered(0))
        await until(lambda: source.current.digest == digest_of(numbered(0)))
        assert (await agent.ask(modern_call("get_invoice"))).status == 200
        await until(lambda: len(list((at.folder / "policies").glob("*.yaml"))) == 2)
        told = json.loads(
            (await at.callgate("explain", "--decision", refused["decision_id"], "--format", "json")).stdout
        )
    assert (told["decision"], told["policy"], told["policy_from"]) == (
        "deny",
        digest_of(numbered(1)),
        "as kept in the log",
    )
    assert [rule["applies"] for rule in told["rules"] if rule["id"] == "billing"] == [False]


async def played(desk: Desk) -> list[Told | Refused]:
    """What the official client does in the two kinds of sessions that there are."""
    answers: list[Told | Refused] = []
    async with desk.agent("billing", mode="auto") as agent:
        await agent.tools()
        answers.append(await agent.call("get_invoice", number="INV-1"))
        answers.append(await agent.call("refund", number="INV-1", amount=5))
        answers.append(await agent.call("refund", number="INV-2", amount=7))
        answers.append(await agent.call("wipe_ledger"))
    async with desk.agent("ops", mode="legacy") as agent:
        await agent.tools()
        answers.append(await agent.call("list_invoices"))
        answers.append(await agent.call("send_mail", to="x@acme.test"))
    return answers


def ended(folder: Path, count: int) -> bool:
    calls = [record["seq"] for record in records_in(folder) if is_call(record)]
    over = {record["intent"] for record in records_in(folder) if record["kind"] == "outcome"}
    return len(calls) == count and over >= set(calls)


def is_call(record: Record) -> bool:
    return (record["kind"], record.get("method")) == ("intent", "tools/call")


async def test_diff_over_a_live_log_says_what_would_change_for_whom_and_how_often(tmp_path: Path) -> None:
    (tmp_path / "wide.yaml").write_text(WIDE)
    (tmp_path / "narrow.yaml").write_text(NO_REFUNDS)
    async with desk_behind_gate(tmp_path, WIDE) as desk:
        answers = await played(desk)
        folder = desk.gate.log_folder
        await until(lambda: ended(folder, 4))
        log = ("--log", str(folder), "--format", "json")
        same = await callgate("policy", "diff", "-", str(tmp_path / "wide.yaml"), *log)
        other = await callgate("policy", "diff", "-", str(tmp_path / "narrow.yaml"), *log)
        files = await callgate("policy", "diff", str(tmp_path / "wide.yaml"), str(tmp_path / "narrow.yaml"), *log)
    assert [type(answer) for answer in answers] == [Told, Told, Told, Refused, Told, Refused]
    assert (same.exit_code, other.exit_code, files.exit_code) == (0, 1, 1)
    found = json.loads(other.stdout)
    assert found["changes"] == json.loads(files.stdout)["changes"]
    assert {change: count for change, count in found["changes"].items() if count} == {"allow_to_deny": 2}
    (group,) = found["groups"]
    assert (group["caller"], group["server"], group["tool"], group["count"]) == (AGENT, "ledger", "refund", 2)
    refunds = {record["decision"] for record in records_in(folder) if record.get("tool") == "refund"}
    assert set(group["examples"]) == refunds
    # Each request that was decided on is compared, those that are no calls of tools, too.
    decided = [record for record in records_in(folder) if "policy" in record and record["kind"] != "start"]
    assert found["decisions"] == len(decided) == found["unchanged"] + 2


async def test_the_policy_that_is_suggested_lets_the_same_calls_through_at_a_new_gate_and_nothing_more(
    tmp_path: Path,
) -> None:
    (tmp_path / "wide.yaml").write_text(WIDE)
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    async with desk_behind_gate(first, WIDE) as desk:
        before = await played(desk)
        await until(lambda: ended(desk.gate.log_folder, 4))
        log = ("--log", str(desk.gate.log_folder))
        bare = await callgate("policy", "suggest", *log, "--format", "yaml")
        told = await callgate("policy", "suggest", *log, "--policy", str(tmp_path / "wide.yaml"), "--format", "json")
    assert (bare.exit_code, told.exit_code) == (0, 0), bare.output + told.output
    narrowed = json.loads(told.stdout)
    standing = {report["grant"]: report["standing"] for report in narrowed["given"]}
    # A log of seconds does not say that a grant is unused.
    assert standing == {"billing": "used", "ops-look": "used", "nobody-yet": "not_used_yet"}

    for number, text in enumerate((bare.stdout, narrowed["policy"])):
        granted = {
            (w, tool) for grant in yaml.safe_load(text)["grants"] for w in grant["workloads"] for tool in grant["tools"]
        }
        assert {tool for _, tool in granted} == {"get_invoice", "refund", "list_invoices"}
        home = second / str(number)
        home.mkdir()
        async with desk_behind_gate(home, text) as desk:
            assert kinds(await played(desk)) == kinds(before)
            async with desk.agent("billing") as agent:
                assert isinstance(await agent.call("list_invoices"), Refused)
                assert isinstance(await agent.call("send_mail", to="x@acme.test"), Refused)


def kinds(answers: list[Told | Refused]) -> list[object]:
    return [answer if isinstance(answer, Told) else "refused" for answer in answers]
