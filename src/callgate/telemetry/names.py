"""The attribute names that may leave the gate, and no others.

OpenTelemetry's own come from the semantic conventions 1.44.0 (HTTP, TLS, network: `general`, `tls`) and from the MCP
and GenAI conventions, status Development.  Ours stand under `callgate.*`.  A span or a log line drops each attribute
that is not in `ALLOWED`: an argument, a header or a credential that strays into a record stays inside.  To add an
attribute, add its constant here.
"""

from typing import Final

# MCP, GenAI, JSON-RPC.  `mcp.session.id` is left out: the handle is what a thief of sessions wants.
# `gen_ai.tool.call.arguments` and `.result` are opt-in in the conventions, and not opted into here.
MCP_METHOD_NAME: Final = "mcp.method.name"
MCP_PROTOCOL_VERSION: Final = "mcp.protocol.version"
GEN_AI_TOOL_NAME: Final = "gen_ai.tool.name"
GEN_AI_OPERATION_NAME: Final = "gen_ai.operation.name"
JSONRPC_REQUEST_ID: Final = "jsonrpc.request.id"
RPC_RESPONSE_STATUS_CODE: Final = "rpc.response.status_code"
ERROR_TYPE: Final = "error.type"

# HTTP and network.  The path and the query are left out, the route is enough.
HTTP_REQUEST_METHOD: Final = "http.request.method"
HTTP_ROUTE: Final = "http.route"
HTTP_REQUEST_BODY_SIZE: Final = "http.request.body.size"
HTTP_RESPONSE_STATUS_CODE: Final = "http.response.status_code"
NETWORK_TRANSPORT: Final = "network.transport"
NETWORK_PROTOCOL_NAME: Final = "network.protocol.name"
NETWORK_PROTOCOL_VERSION: Final = "network.protocol.version"
CLIENT_ADDRESS: Final = "client.address"
CLIENT_PORT: Final = "client.port"
SERVER_ADDRESS: Final = "server.address"
SERVER_PORT: Final = "server.port"

# TLS: `client` is the agent on the SERVER span and the gate on the CLIENT span.  Times are RFC 3339.
TLS_PROTOCOL_NAME: Final = "tls.protocol.name"
TLS_PROTOCOL_VERSION: Final = "tls.protocol.version"
TLS_CIPHER: Final = "tls.cipher"
TLS_RESUMED: Final = "tls.resumed"
TLS_CLIENT_HASH_SHA256: Final = "tls.client.hash.sha256"
TLS_CLIENT_NOT_AFTER: Final = "tls.client.not_after"

# The decision.  The first five are made by `project`, from the trace itself.
DECISION: Final = "callgate.decision"
DECISION_ID: Final = "callgate.decision.id"
DECISION_PATH: Final = "callgate.decision.path"
REASON: Final = "callgate.reason"
DETAIL: Final = "callgate.detail"
POLICY_DIGEST: Final = "callgate.policy.digest"
# Of the metrics about a policy's files: enforced or shadow; ok or refused.
POLICY_ROLE: Final = "callgate.policy.role"
POLICY_OUTCOME: Final = "callgate.policy.outcome"
RULE_ID: Final = "callgate.rule.id"
RULE_KIND: Final = "callgate.rule.kind"
RULE_MATCHED: Final = "callgate.rule.matched"
RULE_WHY: Final = "callgate.rule.why"
RULES_OMITTED: Final = "callgate.rules.omitted"
ATTRIBUTES_DROPPED: Final = "callgate.attributes.dropped"

# Who and where.
WORKLOAD_SPIFFE_ID: Final = "callgate.workload.spiffe_id"
WORKLOAD_TRUST_DOMAIN: Final = "callgate.workload.trust_domain"
SERVER: Final = "callgate.server"
SERVER_SPIFFE_ID: Final = "callgate.server.spiffe_id"
CONNECTION_REQUEST: Final = "callgate.connection.request"
TLS_ALERT: Final = "callgate.tls.alert"
# Seconds, on the ACCEPT record of the first trace of a connection and on no other: the metric is made from it.
TLS_HANDSHAKE_DURATION: Final = "callgate.tls.handshake.duration"
STREAM_EVENTS: Final = "callgate.stream.events"
TOOLS_HIDDEN: Final = "callgate.tools.hidden"

# What was masked, `name=count`, on the SCREEN record in the answer and on the INSPECT record in the arguments; what
# text deceived with; the tools that are not what was approved, and how they differ.  Names and counts, never a value.
MASKED: Final = "callgate.masked"
MASKED_ARGUMENTS: Final = "callgate.masked.arguments"
DECEPTIVE: Final = "callgate.deceptive"
TOOLS_DRIFTED: Final = "callgate.tools.drifted"
TOOL_DIGEST: Final = "callgate.tool.digest"
# Of the metric of what was masked: one name, and where.
MASKED_NAME: Final = "callgate.masked.name"
MASKED_WHERE: Final = "callgate.masked.where"

# A person's approval, on the span of the wait for it.  How many people agreed and by which means they proved who they
# are: their names are in the log alone.  `expires` is RFC 3339; `repeat`: an earlier answer covers this call, too.
APPROVAL_ID: Final = "callgate.approval.id"
APPROVAL_STATE: Final = "callgate.approval.state"
APPROVAL_EXPIRES: Final = "callgate.approval.expires"
APPROVAL_WAITED: Final = "callgate.approval.waited_s"
APPROVAL_PEOPLE: Final = "callgate.approval.people"
APPROVAL_MEANS: Final = "callgate.approval.means"
APPROVAL_REPEAT: Final = "callgate.approval.repeat"
# Of the metrics: what happened, and which target of the configuration a message did not reach.
APPROVAL_HAPPENING: Final = "callgate.approval.happening"
APPROVAL_TARGET: Final = "callgate.approval.target"

# On whose behalf, and what for: the first is proved by a token, the second is the agent's word and no more.
USER_ISSUER: Final = "callgate.user.issuer"
USER_SUBJECT: Final = "callgate.user.subject"
DECLARED_PURPOSE: Final = "callgate.declared.purpose"
# What rules in shadow would have made of the call, and what a whole policy in shadow would have.
SHADOW_SOURCE: Final = "callgate.shadow.source"
SHADOW_DECISION: Final = "callgate.shadow.decision"
SHADOW_REASON: Final = "callgate.shadow.reason"
SHADOW_RULES: Final = "callgate.shadow.rules"
SHADOW_POLICY_DECISION: Final = "callgate.shadow_policy.decision"
SHADOW_POLICY_REASON: Final = "callgate.shadow_policy.reason"
SHADOW_POLICY_RULES: Final = "callgate.shadow_policy.rules"
SHADOW_POLICY_DIGEST: Final = "callgate.shadow_policy.digest"

# The evidence log, on the RECORD record: which record of which log tells of this request, which session it belongs to,
# and how much of it is kept (`none`, `digest`, `full`).  With them one gets from a trace to the record.
AUDIT_SEQUENCE: Final = "callgate.audit.sequence"
AUDIT_ORIGIN: Final = "callgate.audit.origin"
AUDIT_SESSION: Final = "callgate.session.id"
AUDIT_RECORD: Final = "callgate.record.level"
# Of the log's metrics and log events: a checkpoint's number of records, a record's kind, where a checkpoint is kept.
AUDIT_SIZE: Final = "callgate.audit.size"
AUDIT_KIND: Final = "callgate.audit.kind"
AUDIT_TARGET: Final = "callgate.audit.target"
AUDIT_OUTAGE_DURATION: Final = "callgate.audit.outage.duration"

# The claims of the minted token, on the MINT record.  Never the token.
CLAIM_AUD: Final = "callgate.token.aud"
CLAIM_SUB: Final = "callgate.token.sub"
CLAIM_ACT: Final = "callgate.token.act"
CLAIM_SCOPE: Final = "callgate.token.scope"
CLAIM_IAT: Final = "callgate.token.iat"
CLAIM_EXP: Final = "callgate.token.exp"
CLAIM_JTI: Final = "callgate.token.jti"
CLAIM_TXN: Final = "callgate.token.txn"
CLAIM_BOUND: Final = "callgate.token.bound"

CLAIM_PREFIX: Final = "callgate.token."

ALLOWED: Final[frozenset[str]] = frozenset(
    value
    for name, value in list(globals().items())
    if name.isupper() and isinstance(value, str) and not name.endswith("_PREFIX") and not name.startswith("_")
)
