"""SQL and shell that send data to another machine: the words to look for, and what around them tells.

Every look is at a window of fixed size around a word, so that a text costs what it has of such words.
"""

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from callgate.screening.pack_terms import table_of

# Of the line in which a word stands, on each side of it.
WINDOW: Final = 400

# Functions and statements that reach out, by each database's manual: PostgreSQL (dblink, postgres_fdw, COPY … PROGRAM),
# pg_net and http (extensions), Amazon RDS (aws_s3, aws_lambda), Oracle (UTL_*, DBMS_*, HTTPURITYPE, APEX_WEB_SERVICE),
# SQL Server (xp_*, sp_*, OPENROWSET and its like), BigQuery (EXTERNAL_QUERY, EXPORT DATA), Redshift (UNLOAD),
# Snowflake (SYSTEM$SEND_EMAIL).
SQL_WORDS: Final = (
    r"dblink(?:_connect(?:_u)?|_exec|_send_query|_open)?\s*\(", r"net\.http_(?:get|post|delete)\s*\(",
    r"aws_s3\.query_export_to_s3\s*\(", r"aws_lambda\.invoke\s*\(", r"(?:to|from)\s+program\s+'",
    r"utl_(?:http|inaddr|tcp|smtp|mail)\s*\.\s*\w", r"httpuritype\s*\(", r"dbms_ldap\s*\.\s*\w", r"apex_web_service\s*\.\s*\w",
    r"dbms_cloud\s*\.\s*\w",
    r"xp_(?:dirtree|fileexist|subdirs|getfiledetails)\b", r"open(?:rowset|datasource)\s*\(",
    r"sp_(?:oacreate|send_dbmail|invoke_external_rest_endpoint)\b", r"fn_(?:xe_file_target_read_file|trace_gettable)\s*\(",
    r"external_query\s*\(", r"export\s+data\s+(?:options|with\s+connection)\b", r"\bunload\s*\(\s*'",
    r"system\$send_email\s*\(",
    # Windows fetches \\host\share from the host that the path names: a query that makes one sends it what it selects.
    r"load_file\s*\(", r"into\s+(?:out|dump)file\s+'\\\\",
    r"engine\s*=\s*federated\b",
)  # fmt: skip
# Functions that a reading of SQL names.
SQL_FUNCTIONS: Final = table_of("""dblink dblink_connect dblink_connect_u dblink_exec dblink_send_query dblink_open http_get http_post http_put
    http_delete http_patch http_head query_export_to_s3 lo_export httpuritype xp_dirtree xp_fileexist xp_subdirs openrowset
    opendatasource openquery external_query load_file url urlcluster remote remotesecure s3 s3cluster hdfs mysql
    postgresql mongodb azureblobstorage gcs jdbc odbc http_request reflect java_method ai_query""")
SHELL_WORDS: Final = (
    r"(?:curl|curlie|wget|https?|xh)(?:\.exe)?[ \t]+[-$a-z'\x22\x60]",
    r"(?:nc|ncat|netcat|nc\.traditional|nc\.openbsd|socat|telnet)[ \t]+[-\w$'\x22]",
    r"(?:scp|rsync|sftp|lftp|ftp|tftp|rclone|rcp|pscp|croc|magic-wormhole|wormhole)[ \t]+[-\w$./~'\x22]",
    r"(?:aws[ \t]+s3|gsutil|gcloud[ \t]+storage|azcopy|s3cmd|s5cmd|mc)[ \t]+(?:cp|sync|mv|rsync|put|copy|mirror)\b",
    r"openssl[ \t]+s_client\b",
    r"(?:dig|nslookup|drill|resolvectl|host|ping|getent[ \t]+(?:hosts|ahosts\w*)|resolve-dnsname)[ \t]+[-\w$'\x22\x60+@]",
    r"(?:mail|mailx|mutt|sendmail|msmtp|swaks)[ \t]+[-\w'\x22]",
    r"(?:invoke-webrequest|invoke-restmethod|iwr|irm|start-bitstransfer|send-mailmessage)[ \t]",
    r"bitsadmin(?:\.exe)?[ \t]",
    r"gh[ \t]+gist[ \t]+create\b",
    r"ssh[ \t]+[-\w$]",
)
# These need no command in front: bash's own network, and the web client of .NET.
SHELL_PARTS: Final = (r"/dev/(?:tcp|udp)/", r"\.upload(?:string|file|data|values)(?:async|taskasync)?\s*\(")
# Programs that open a tunnel, by their manuals.
TUNNEL_WORDS: Final = (
    r"ngrok[ \t]+(?:http|tcp|tls|start|service)\b", r"cloudflared(?:\.exe)?[ \t]+(?:tunnel|access)\b",
    r"(?:lt|localtunnel)[ \t]+--?p(?:ort)?\b", r"bore[ \t]+local\b", r"tailscale[ \t]+funnel\b",
    r"devtunnel[ \t]+(?:host|create)\b", r"chisel[ \t]+(?:client|server)\b", r"frpc[ \t]+-c\b", r"zrok[ \t]+share\b",
    r"playit[ \t]+(?:-s|start)\b", r"gost[ \t]+-L\b", r"ligolo(?:-ng)?[ \t]+-", r"iodine[ \t]+-", r"dnscat2?[ \t]+-",
)  # fmt: skip

# What stands before a command: nothing, the end of another one, a quote, or a command that runs it.
_COMMAND_PLACE: Final = re.compile(
    r"(?:^|[\n;|&(`\"'{=$>/\\]|\b(?:sudo|doas|xargs|time|exec|nohup|env|then|do|else|busybox|torsocks|command|timeout [\w.]{1,9})"
    r"(?: -\S{1,20}){0,4}[ \t])[ \t]*$"
)
_SUBSTITUTED: Final = re.compile(r"\$\(|`|<\(|\$\{?[A-Za-z_]\w*\}?\.")
_FROM_FILE: Final = re.compile(
    r"(?:\s-[a-zA-Z]*(?:d|F)\s*|\s--(?:data(?:-raw|-binary|-urlencode|-ascii)?|form|json)[\s=]\s*)[\"']?[^\s\"']{0,80}[@<]"
    r"|\s(?:-[a-zA-Z]*T|--upload-file)[\s=]*[^\s-]"
    r"|\s--(?:post|body)-file\b|\s[\w.-]+@[./~\w]+(?:\s|$)|\s[\w.-]+=@"
)
_DATA: Final = re.compile(
    r"\s(?:-[a-zA-Z]*[dFT]\b|--(?:data|form|json|upload-file|post-(?:data|file)|body-(?:data|file))\b|--method[ =](?:POST|PUT|PATCH)\b"
    r"|(?:-X|--request)[ =]?(?:POST|PUT|PATCH)\b)"
)
_FED: Final = re.compile(r"<(?![<(])|<<<")
_ELSEWHERE: Final = re.compile(r"(?:^|\s)['\"]?[\w.@-]+:(?:[^\\]|$)")
_POSTS: Final = re.compile(
    r"-method\s+['\"]?(?:post|put|patch)|\s-(?:body|infile|form)\b|attachments|\s-upload", re.IGNORECASE
)


def _is_piped(before: str) -> bool:
    return before.rstrip().endswith("|")


def _web(before: str, after: str) -> bool:
    return bool(_FROM_FILE.search(after) or _SUBSTITUTED.search(after) or (_is_piped(before) and _DATA.search(after)))


def _socket(before: str, after: str) -> bool:
    return _is_piped(before) or bool(
        _FED.search(after) or re.search(r"\s-[a-z]*[ec]\b|--(?:sh-|lua-)?exec\b|exec:|system:", after, re.IGNORECASE)
    )


def _copy(_before: str, after: str) -> bool:
    return bool(_ELSEWHERE.search(after) or re.search(r"\bput\b|\bsend\b|\scopy\b|\ssync\b", after))


def _name(_before: str, after: str) -> bool:
    return bool(_SUBSTITUTED.search(after))


def _mail(before: str, after: str) -> bool:
    return "@" in after and bool(_is_piped(before) or _FED.search(after) or re.search(r"\s-[aA]\b|--attach", after))


def _always(_before: str, _after: str) -> bool:
    return True


def _shell_out(before: str, after: str) -> bool:
    return _is_piped(before) or bool(re.search(r"\s-[a-zA-Z]*[RD]\b", after) or _FED.search(after))


def _posts(_before: str, after: str) -> bool:
    return bool(_POSTS.search(after))


# By the first word.
_TELLS: Final[Mapping[str, Callable[[str, str], bool]]] = MappingProxyType(
    dict.fromkeys(("curl", "curlie", "wget", "http", "https", "xh", "curl.exe", "wget.exe"), _web)
    | dict.fromkeys(("nc", "ncat", "netcat", "nc.traditional", "nc.openbsd", "socat", "telnet", "openssl"), _socket)
    | dict.fromkeys(("scp", "rsync", "sftp", "lftp", "ftp", "tftp", "rclone", "rcp", "pscp"), _copy)
    | dict.fromkeys(("dig", "nslookup", "drill", "resolvectl", "host", "ping", "getent", "resolve-dnsname"), _name)
    | dict.fromkeys(("mail", "mailx", "mutt", "sendmail", "msmtp", "swaks"), _mail)
    | dict.fromkeys(("invoke-webrequest", "invoke-restmethod", "iwr", "irm", "start-bitstransfer", "bitsadmin", "bitsadmin.exe"), _posts)
    | {"ssh": _shell_out}
)  # fmt: skip


def shell_sends(text: str, start: int, end: int) -> bool:
    """Whether the command whose word is at `start` to `end` of `text` sends what it reads."""
    before, after = line_around(text, start, end)
    if not _COMMAND_PLACE.search(before) and not text.startswith(("/", "."), start):
        return False
    word = re.split(r"\s", text[start:end], maxsplit=1)[0].lower()
    return _TELLS.get(word, _always)(before, after)


def line_around(text: str, start: int, end: int) -> tuple[str, str]:
    """What stands in the line before `start`, and in the lines from `start` on that a backslash joins."""
    before = text[max(0, start - WINDOW) : start].rpartition("\n")[2]
    after = text[start : end + WINDOW].replace("\\\n", " ").partition("\n")[0]
    return before, after


def sql_sends(text: str, start: int, end: int) -> bool:
    """Whether the function whose name begins at `start` is sent somewhere: LOAD_FILE only with a path of Windows."""
    if not text[start:end].lower().startswith("load_file"):
        return True
    return bool(re.search(r"\\\\|//|0x5c5c|char\s*\(\s*92", text[start : end + WINDOW], re.IGNORECASE))
