"""What a statement is by its words: facts by dialect, from the databases' manuals."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# By the first word of a statement: the code of what it is.  What stands neither here nor among those that are read
# with care below is an unknown statement.
BY_FIRST_WORD: Final[Mapping[str, str]] = MappingProxyType(
    {
        "abort": "transaction", "alter": "alter", "attach": "attach", "audit": "admin", "backup": "file_access",
        "bulk": "file_access", "cache": "admin", "call": "procedure", "change": "admin", "checkpoint": "admin",
        "checksum": "admin", "clear": "admin", "clone": "admin", "cluster": "admin", "convert": "admin",
        "copy": "file_access", "dbcc": "admin", "deallocate": "prepare", "declare": "block", "deny": "grant",
        "detach": "attach", "disable": "alter", "disassociate": "admin", "discard": "setting", "do": "procedure",
        "download": "file_access", "drop": "drop", "enable": "alter", "exchange": "rename", "exec": "procedure",
        "execute": "procedure", "export": "file_access", "flashback": "drop", "flush": "admin", "for": "block",
        "force": "attach", "get": "file_access", "goto": "block", "grant": "grant", "if": "block", "import": "file_access",
        "install": "library", "kill": "admin", "listen": "admin", "load": "file_access", "lock": "lock", "loop": "block", "msck": "admin",
        "move": "admin", "noaudit": "admin", "notify": "admin", "unlisten": "admin", "optimize": "admin", "prepare": "prepare", "print": "block",
        "purge": "admin", "put": "file_access", "raiserror": "block", "reassign": "privilege", "reconfigure": "setting",
        "refresh": "admin", "reindex": "admin", "remove": "file_access", "rename": "rename", "repair": "admin",
        "repeat": "block", "replace": "overwrite", "reset": "setting", "restart": "admin", "restore": "file_access",
        "return": "block", "revert": "privilege", "revoke": "grant", "rm": "file_access", "security": "privilege",
        "setuser": "privilege", "shutdown": "admin", "signal": "block", "startup": "admin", "stop": "admin",
        "system": "admin", "truncate": "truncate", "try": "block", "uncache": "admin", "undelete": "drop",
        "undrop": "drop", "uninstall": "library", "unload": "file_access", "unlock": "lock", "unset": "setting",
        "updatetext": "overwrite", "upload": "file_access", "vacuum": "admin", "waitfor": "holds", "while": "block",
        "writetext": "overwrite", "xa": "admin",
    }
)  # fmt: skip
# Of those, what changes nothing in the database, nor outside of it.
NOT_WRITING: Final = frozenset(
    {
        "checksum",
        "deallocate",
        "discard",
        "fetch",
        "handler",
        "listen",
        "lock",
        "reset",
        "revert",
        "setuser",
        "unlisten",
        "unlock",
        "unset",
        "waitfor",
    }
)
# Words that write wherever they stand, when a statement cannot be read.
WRITING_WORDS: Final = frozenset(
    {
        "alter", "attach", "backup", "call", "copy", "create", "dbcc", "delete", "deny", "detach", "drop",
        "dump", "exec", "execute", "export", "grant", "import", "insert", "install", "into", "kill", "load", "merge", "outfile",
        "dumpfile", "purge", "reconfigure", "rename", "replace", "restore", "revoke", "shutdown", "truncate", "unload",
        "update", "vacuum",
    }
)  # fmt: skip
# What reads, by its first word: when such a statement cannot be read to its end, its other words say whether it writes.
READING_WORDS: Final = frozenset(
    {
        "select", "with", "values", "table", "from", "show", "describe", "desc", "explain", "list", "ls", "help", "use",
        "pivot", "unpivot", "summarize", "declare", "fetch", "set", "begin", "start", "commit", "rollback", "savepoint",
        "release", "end", "do", "print", "pragma", "handler", "if", "prepare", "while",
    }
)  # fmt: skip

# After CREATE: what may stand in front of the kind of thing.
CREATE_MODIFIERS: Final = frozenset(
    {
        "temp", "temporary", "global", "local", "unlogged", "unique", "clustered", "nonclustered", "columnstore",
        "bitmap", "fulltext", "spatial", "transient", "volatile", "recursive", "materialized", "private", "force",
        "noforce", "online", "offline", "algorithm", "=", "undefined", "merge", "temptable", "sql", "invoker",
        "primary", "xml", "multivalue", "search",
    }
)  # fmt: skip
# What only adds, and runs nothing later.
CREATE_ADDS: Final = frozenset({"table", "view", "index", "schema", "sequence", "type", "domain"})
CREATE_CODES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "function": "create_code", "procedure": "create_code", "proc": "create_code", "trigger": "create_code",
        "event": "create_code", "rule": "create_code", "task": "create_code", "job": "create_code",
        "package": "create_code", "aggregate": "create_code", "macro": "create_code", "alert": "create_code",
        "pipe": "create_code", "assembly": "library", "library": "library", "java": "create_code",
        "extension": "library", "language": "library", "operator": "create_code", "cast": "create_code",
        "role": "privilege", "user": "privilege", "login": "privilege", "group": "privilege", "policy": "privilege",
        "definer": "privilege", "profile": "privilege", "quota": "privilege", "masking": "privilege", "row": "privilege",
        "secret": "secrets", "credential": "secrets", "certificate": "secrets", "symmetric": "secrets", "master": "secrets",
        "asymmetric": "secrets", "server": "network", "subscription": "network", "publication": "network",
        "connection": "network", "endpoint": "network", "foreign": "network", "share": "network", "link": "network",
        "integration": "network", "external": "file_access", "stage": "file_access", "directory": "file_access",
        "storage": "file_access", "snapshot": "create_other", "capture": "create_other",
    }
)  # fmt: skip
# What makes a CREATE TABLE reach outside, wherever it stands.
CREATE_REACHES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "location": "file_access", "external_location": "file_access", "filename": "file_access", "attach": "file_access",
        "inherit": "alter", "drop_existing": "drop", "external": "file_access", "infile": "file_access",
    }
)  # fmt: skip
# Storage engines of MySQL and ClickHouse that hold their rows themselves.
HARMLESS_ENGINES: Final = frozenset(
    {"innodb", "myisam", "memory", "aria", "archive", "rocksdb", "log", "tinylog", "stripelog", "null", "set", "join"}
)

# What a session may set for itself without harm, by dialect: time limits, formats, how strictly it is kept apart.
HARMLESS_SETTINGS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "postgres": frozenset(
            {
                "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "transaction_timeout",
                "datestyle", "intervalstyle", "timezone", "client_encoding", "client_min_messages", "application_name",
                "work_mem", "extra_float_digits", "bytea_output", "default_transaction_read_only",
                "default_transaction_isolation", "random_page_cost", "enable_seqscan", "enable_hashjoin",
                "enable_mergejoin", "enable_nestloop", "jit", "max_parallel_workers_per_gather", "lc_messages",
                "lc_monetary", "lc_numeric", "lc_time", "geqo", "plan_cache_mode", "cursor_tuple_fraction", "names",
            }
        ),
        "mysql": frozenset(
            {
                "names", "time_zone", "max_execution_time", "lock_wait_timeout", "innodb_lock_wait_timeout",
                "group_concat_max_len", "net_read_timeout", "net_write_timeout", "wait_timeout", "character_set_client",
                "character_set_results", "character_set_connection", "collation_connection", "lc_time_names",
                "transaction_isolation", "transaction_read_only", "optimizer_switch", "sort_buffer_size",
                "join_buffer_size", "max_statement_time", "interactive_timeout", "autocommit",
            }
        ),
        "tsql": frozenset(
            {
                "nocount", "lock_timeout", "datefirst", "dateformat", "language", "rowcount", "arithabort",
                "ansi_warnings", "ansi_nulls", "ansi_padding", "concat_null_yields_null", "numeric_roundabort",
                "xact_abort", "showplan_all", "showplan_text", "showplan_xml", "statistics", "deadlock_priority",
                "textsize", "query_governor_cost_limit",
            }
        ),
        "duckdb": frozenset(
            {
                "threads", "memory_limit", "max_memory", "timezone", "calendar", "default_order", "default_null_order",
                "preserve_insertion_order", "enable_progress_bar", "explain_output", "enable_profiling",
                "worker_threads", "null_order", "ordered_aggregate_threshold", "max_expression_depth", "variable",
            }
        ),
        "snowflake": frozenset({"variable"}),
        "trino": frozenset({"time"}),
        "spark": frozenset({"time"}),
        "databricks": frozenset({"time", "timezone", "ansi_mode", "statement_timeout", "use_cached_result"}),
        "redshift": frozenset(
            {
                "statement_timeout", "datestyle", "timezone", "extra_float_digits", "query_group",
                "enable_result_cache_for_session", "client_encoding",
            }
        ),
        "clickhouse": frozenset({"max_execution_time", "max_threads", "max_memory_usage", "max_rows_to_read"}),
    }
)  # fmt: skip

# SQLite and DuckDB: PRAGMAs that read when nothing is given to them.
READING_PRAGMAS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "sqlite": frozenset(
            {
                "analysis_limit", "application_id", "auto_vacuum", "automatic_index", "busy_timeout", "cache_size",
                "cache_spill", "cell_size_check", "checkpoint_fullfsync", "collation_list", "compile_options",
                "data_version", "database_list", "defer_foreign_keys", "encoding", "foreign_key_check", "foreign_keys",
                "freelist_count", "fullfsync", "function_list", "hard_heap_limit", "ignore_check_constraints",
                "integrity_check", "journal_mode", "journal_size_limit", "legacy_alter_table", "locking_mode",
                "max_page_count", "mmap_size", "module_list", "page_count", "page_size", "pragma_list", "query_only",
                "quick_check", "read_uncommitted", "recursive_triggers", "reverse_unordered_selects", "schema_version",
                "secure_delete", "soft_heap_limit", "synchronous", "table_list", "temp_store", "threads", "trusted_schema",
                "user_version", "wal_autocheckpoint", "writable_schema", "full_column_names", "short_column_names",
            }
        ),
        "duckdb": frozenset(
            {
                "version", "database_size", "database_list", "show_tables", "show_tables_expanded", "collations",
                "functions", "platform", "user_agent", "metadata_info", "show_databases", "all_columns",
            }
        ),
    }
)  # fmt: skip
# … and those that read what their argument names.
ASKING_PRAGMAS: Final = frozenset(
    {
        "table_info", "table_xinfo", "table_list", "index_list", "index_info", "index_xinfo", "foreign_key_list",
        "foreign_key_check", "integrity_check", "quick_check", "storage_info", "show",
    }
)  # fmt: skip

# Words that no dialect takes for a bare name, and that the parser would.
RESERVED: Final = frozenset(
    {
        "select", "from", "where", "group", "order", "having", "union", "except", "intersect", "into", "and", "or", "not",
        "when", "then", "else", "case", "distinct", "create", "on", "using", "join", "inner", "as", "in", "between",
        "is", "like", "by",
    }
)  # fmt: skip
# A statement that ends with one of these was cut off.
UNFINISHED: Final = RESERVED - {"else"} | {
    "all",
    "set",
    "limit",
    "offset",
    "values",
    "table",
    "over",
    "with",
    "escape",
    "exists",
    "to",
}

# Transact-SQL reference, "Reserved keywords": what cannot be a bare name or alias.  Of these, what starts a statement
# ends the one in front of it, without a semicolon.
TSQL_RESERVED: Final = frozenset(
    {
        "add", "all", "alter", "and", "any", "as", "asc", "authorization", "backup", "begin", "between", "break",
        "browse", "bulk", "by", "cascade", "case", "check", "checkpoint", "close", "clustered", "coalesce", "collate",
        "column", "commit", "compute", "constraint", "contains", "containstable", "continue", "convert", "create",
        "cross", "cursor", "database", "dbcc", "deallocate", "declare", "default", "delete", "deny", "desc", "disk",
        "distinct", "distributed", "double", "drop", "dump", "else", "end", "errlvl", "escape", "except", "exec",
        "execute", "exists", "exit", "external", "fetch", "file", "fillfactor", "for", "foreign", "freetext",
        "freetexttable", "from", "full", "function", "goto", "grant", "group", "having", "holdlock", "identity_insert",
        "identitycol", "if", "in", "index", "inner", "insert", "intersect", "into", "is", "join", "key", "kill",
        "like", "lineno", "load", "merge", "national", "nocheck", "nonclustered", "not", "null", "nullif", "of", "off",
        "offsets", "on", "open", "opendatasource", "openquery", "openrowset", "openxml", "option", "or", "order",
        "outer", "over", "percent", "pivot", "plan", "precision", "primary", "print", "proc", "procedure", "public",
        "raiserror", "read", "readtext", "reconfigure", "references", "replication", "restore", "restrict", "return",
        "revert", "revoke", "rollback", "rowcount", "rowguidcol", "rule", "save", "schema", "securityaudit", "select",
        "set", "setuser", "shutdown", "some", "statistics", "table", "tablesample", "textsize", "then", "to", "top",
        "tran", "transaction", "trigger", "truncate", "tsequal", "union", "unique", "unpivot", "update", "updatetext",
        "use", "values", "varying", "view", "waitfor", "when", "where", "while", "with", "within", "writetext",
    }
)  # fmt: skip
TSQL_STARTERS: Final = frozenset(
    {
        "alter", "backup", "begin", "break", "bulk", "checkpoint", "close", "commit", "continue", "create", "dbcc",
        "deallocate", "declare", "delete", "deny", "drop", "dump", "exec", "execute", "fetch", "goto", "grant", "if",
        "insert", "kill", "load", "merge", "open", "print", "raiserror", "readtext", "reconfigure", "restore",
        "return", "revert", "revoke", "rollback", "save", "set", "setuser", "shutdown", "truncate", "update",
        "updatetext", "use", "waitfor", "while", "writetext",
    }
)  # fmt: skip
# Where such a word may stand all the same: (the word in front of it, the word), or the word and the one behind it.
TSQL_BEHIND: Final = frozenset(
    {
        ("then", "update"), ("then", "insert"), ("then", "delete"),
        ("rows", "fetch"), ("row", "fetch"), ("begin", "transaction"), ("(", "bulk"),
    }
)  # fmt: skip
TSQL_BEHIND_IN_CREATE: Final = frozenset({("on", "delete"), ("on", "update"), ("delete", "set"), ("update", "set")})
TSQL_BEFORE: Final = frozenset({("merge", "join"), ("merge", "union"), ("save", "transaction"), ("close", ")")})

# Words of client programs that start a line or a text: psql, mysql, sqlite3, sqlplus, sqlcmd, snowsql.
CLIENT_WORDS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "mysql": frozenset(
            {"delimiter", "source", "system", "tee", "notee", "pager", "nopager", "edit", "connect", "rehash", "charset",
             "quit", "exit", "go", "ego", "nowarning", "warnings", "status", "print", "prompt", "clear", "resetconnection"}
        ),
        "oracle": frozenset(
            {"host", "spool", "start", "run", "connect", "conn", "disconnect", "edit", "get", "save", "store", "define",
             "accept", "prompt", "quit", "exit", "column", "variable", "exec", "execute", "whenever", "password", "copy",
             "archive", "recover", "startup", "shutdown"}
        ),
        "tsql": frozenset({"go", "quit", "exit", "reset"}),
    }
)  # fmt: skip
# Schemas that describe the database itself, and tables that do.
SYSTEM_SCHEMAS: Final = frozenset(
    {
        "pg_catalog",
        "information_schema",
        "mysql",
        "sys",
        "performance_schema",
        "master",
        "msdb",
        "system",
        "account_usage",
    }
)
SYSTEM_TABLES: Final = frozenset(
    {
        "sqlite_master", "sqlite_schema", "sqlite_temp_master", "sqlite_temp_schema", "sqlite_sequence", "sqlite_stat1",
        "sqlite_dbpage", "sqlite_stat4", "pg_authid", "pg_class", "pg_proc", "pg_shadow", "pg_database", "pg_settings",
        "pg_largeobject", "pg_attribute", "pg_auth_members", "pg_user_mapping", "pg_trigger", "pg_rewrite", "pg_index",
        "pg_namespace", "pg_type", "pg_constraint", "pg_depend", "pg_language", "pg_extension", "pg_roles", "pg_user",
        "pg_hba_file_rules", "pg_statistic", "sysobjects", "syslogins", "sysusers", "user$", "obj$", "sysauth$",
    }
)  # fmt: skip
