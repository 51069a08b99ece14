"""The demo's two files, as a reader finds them, and the names in them."""

from pathlib import Path

from callgate.config import Config, load_config
from callgate.dev.demo_people import DemoFailed
from callgate.policy.compile import Policy, load_policy

GATE_ID = "spiffe://acme.test/gate"
AGENT_ID = "spiffe://acme.test/ns/billing/sa/refund-agent"
AUDITOR_ID = "spiffe://acme.test/ns/ops/sa/auditor"
ISSUER = "https://gate.acme.test"
AUDIENCE = "https://ledger.acme.test/mcp"

CONFIG = """\
# The gate: where things are.
listen: 127.0.0.1:{gate_port}
workload_api: {workload_api}
issuer: {issuer}
policy: policy.yaml
admin: {{listen: "127.0.0.1:{admin_port}"}}
# Every request goes on record here before it is answered; what passes, encrypted to the auditor.
audit: {{folder: audit, record: full, recipients: ["{recipient}"]}}
# People are asked here.  Agent, gate and person are one user of this machine, which a gate in earnest does not accept.
approvals: {{socket: {{agents_share_user: true}}}}
servers:
  ledger:
    url: http://127.0.0.1:{ledger_port}/mcp
    # list_scopes: FastMCP shows a tool in its list only to a token that has the tool's scope.
    token: {{audience: "{audience}", ttl: 20s, list_scopes: granted}}
"""

POLICY = f"""\
# Who may do what. What is not granted is denied, and a denial beats every grant.
version: 1
trust_domains: [acme.test]
grants:
  - id: billing-reads-invoices
    workloads: [spiffe://acme.test/ns/billing/sa/*]
    server: ledger
    tools: [list_invoices, get_invoice]
    scopes: [ledger.read]
  - id: refund-agent-refunds
    workloads: [{AGENT_ID}]
    server: ledger
    tools: [refund, wipe_ledger]
    scopes: [ledger.refund]
    ttl: 10s
  - id: somebody-agrees-above-100
    workloads: [{AGENT_ID}]
    server: ledger
    tools: [refund]
    when: args.amount > 100
    # Whoever sits at the gate's machine; in earnest a group of your identity provider.
    approval: {{groups: [local], waits: 5m}}
  - id: ops-closes-months
    workloads: [spiffe://acme.test/ns/ops/**]
    server: ledger
    tools: [list_invoices, close_month]
    scopes: [ledger.close]
denials:
  - id: nobody-wipes-the-ledger
    server: ledger
    tools: [wipe_ledger]
  - id: no-refund-above-500
    server: ledger
    tools: [refund]
    when: args.amount > 500
"""


def write_files(directory: Path, config_text: str) -> tuple[Config, Policy]:
    """Put the demo's two files where a reader can look at them, and read them as `serve` would."""
    (directory / "callgate.yaml").write_text(config_text, encoding="utf-8")
    (directory / "policy.yaml").write_text(POLICY, encoding="utf-8")
    config = load_config(config_text, "callgate.yaml")
    if not isinstance(config, Config):
        raise DemoFailed("; ".join(map(str, config)))
    policy = load_policy(POLICY, "policy.yaml", frozenset(config.servers))
    if not isinstance(policy, Policy):
        raise DemoFailed("; ".join(map(str, policy)))
    return config, policy
