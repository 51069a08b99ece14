"""Functions that do more than compute: what they read, write, run or reach, from the databases' manuals.

A name stands for every function that is called so, whatever its schema, its case and its quotes.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final


def _by_name(**names: str) -> Mapping[str, str]:
    """Names, apart by blanks, to the code that they stand under."""
    return MappingProxyType({name: code for code, listed in names.items() for name in listed.split()})


# PostgreSQL 17, 9.28 "System Administration Functions", 9.15 "XML Functions", 33 "Large Objects", appendix F (adminpack,
# dblink, tablefunc, xml2, pg_prewarm, pg_surgery), and what hosted databases add (aws_s3, pg_cron, pg_net, http).
_POSTGRES: Final = _by_name(
    file_access=(
        "pg_read_file pg_read_binary_file pg_ls_dir pg_ls_logdir pg_ls_waldir pg_ls_tmpdir pg_ls_archive_statusdir"
        " pg_ls_logicalsnapdir pg_ls_logicalmapdir pg_ls_replslotdir pg_ls_summariesdir pg_stat_file pg_file_write"
        " pg_file_read pg_file_rename pg_file_unlink pg_file_sync pg_file_length pg_logdir_ls pg_logfile_read lo_import"
        " lo_export lo_create lo_creat lo_unlink lo_from_bytea lo_put lo_truncate lo_truncate64 lowrite lo_open"
        " pg_hba_file_rules pg_ident_file_mappings pg_show_all_file_settings query_export_to_s3 table_import_from_s3"
        " pg_export_snapshot pg_import_system_collations"
    ),
    dynamic_sql=(
        "query_to_xml query_to_xmlschema query_to_xml_and_xmlschema cursor_to_xml cursor_to_xmlschema table_to_xml"
        " table_to_xml_and_xmlschema schema_to_xml schema_to_xml_and_xmlschema database_to_xml"
        " database_to_xml_and_xmlschema dblink dblink_exec dblink_open dblink_send_query crosstab crosstab2 crosstab3"
        " crosstab4 crosstabn connectby ts_stat xpath_table cron.schedule cron.schedule_in_database"
        " schedule_in_database run_command_on_workers run_command_on_shards run_command_on_placements"
    ),
    network=(
        "dblink_connect dblink_connect_u dblink_fetch dblink_get_result http http_get http_post http_put http_delete"
        " http_patch http_head net.http_get net.http_post net.http_delete"
    ),
    admin=(
        "pg_terminate_backend pg_cancel_backend pg_reload_conf pg_rotate_logfile pg_switch_wal pg_switch_xlog pg_promote"
        " pg_create_restore_point pg_backup_start pg_backup_stop pg_start_backup pg_stop_backup pg_wal_replay_pause"
        " pg_wal_replay_resume pg_create_physical_replication_slot pg_create_logical_replication_slot"
        " pg_drop_replication_slot pg_replication_slot_advance pg_copy_physical_replication_slot"
        " pg_copy_logical_replication_slot pg_replication_origin_create pg_replication_origin_drop"
        " pg_replication_origin_advance pg_replication_origin_session_setup pg_logical_emit_message"
        " pg_logical_slot_get_changes pg_logical_slot_get_binary_changes pg_sync_replication_slots pg_stat_reset"
        " pg_stat_reset_shared pg_stat_reset_single_table_counters pg_stat_reset_single_function_counters"
        " pg_stat_reset_slru pg_stat_reset_replication_slot pg_stat_statements_reset pg_log_backend_memory_contexts"
        " pg_log_standby_snapshot pg_clear_attribute_stats pg_clear_relation_stats pg_restore_relation_stats"
        " pg_restore_attribute_stats pg_truncate_visibility_map heap_force_kill heap_force_freeze"
        " brin_summarize_new_values brin_summarize_range brin_desummarize_range gin_clean_pending_list pg_notify"
        " pg_prewarm autoprewarm_start_worker autoprewarm_dump_now cron.unschedule pg_nextoid"
    ),
    holds=(
        "pg_sleep pg_sleep_for pg_sleep_until pg_advisory_lock pg_advisory_xact_lock pg_advisory_lock_shared"
        " pg_advisory_xact_lock_shared pg_try_advisory_lock pg_try_advisory_lock_shared pg_try_advisory_xact_lock"
        " pg_try_advisory_xact_lock_shared pg_advisory_unlock_all pg_advisory_unlock pg_advisory_unlock_shared"
    ),
    setting="set_config",
    sequence="setval",
    program="sys_eval sys_exec sys_bineval",
    secrets="vault.create_secret vault.update_secret",
)
# MySQL 8.4, 14 "Functions and Operators", MariaDB's Spider, and the library lib_mysqludf_sys that attackers load.
_MYSQL: Final = _by_name(
    file_access="load_file",
    program="sys_exec sys_eval sys_bineval sys_set sys_get",
    holds=(
        "sleep benchmark get_lock release_lock release_all_locks wait_for_executed_gtid_set master_pos_wait"
        " source_pos_wait wait_until_sql_thread_after_gtids"
    ),
    admin=(
        "group_replication_set_as_primary group_replication_switch_to_single_primary_mode"
        " group_replication_switch_to_multi_primary_mode group_replication_set_write_concurrency"
        " group_replication_disable_member_action group_replication_enable_member_action"
        " asynchronous_connection_failover_add_source asynchronous_connection_failover_delete_source"
        " mysql_firewall_flush_status set_firewall_mode"
    ),
    sequence="setval",
    dynamic_sql="spider_direct_sql spider_bg_direct_sql spider_copy_tables",
    network="http_get http_post",
)
# SQLite: load_extension (core), the shell's fileio.c, zipfile.c, edit() and eval(), ext/misc, and sqlean.
_SQLITE: Final = _by_name(
    library="load_extension fts3_tokenizer",
    file_access=(
        "readfile writefile edit fsdir lsmode zipfile csv sqlite_dbpage vsv fileio_read fileio_write fileio_ls"
        " fileio_mkdir fileio_symlink fileio_append fileio_scan"
    ),
    dynamic_sql="eval sha3_query sha1_query define",
    program="shell_exec exec system",
    network="http_get http_post http_do http_get_body",
    secrets="getenv",
    holds="sleep usleep",
)
# Transact-SQL reference: rowset functions, system functions that read files by their paths.
_TSQL: Final = _by_name(
    file_access=(
        "openrowset fn_trace_gettable fn_xe_file_target_read_file fn_get_audit_file fn_dblog fn_dump_dblog"
        " dm_os_file_exists dm_os_enumerate_filesystem"
    ),
    network="opendatasource openquery",
    dynamic_sql="exec execute",
)
# Oracle 23ai, "XML DB Developer's Guide" on DBUriType and HTTPURIType.
_ORACLE: Final = _by_name(
    file_access="bfilename", network="httpuritype ftpuritype urifactory", dynamic_sql="dburitype xdburitype"
)
# DuckDB 1.4: "Data import", table functions of the extensions httpfs, iceberg, delta, postgres, mysql, sqlite, excel,
# spatial, avro, substrait; "Utility functions".
_DUCKDB: Final = _by_name(
    file_access=(
        "read_csv read_csv_auto sniff_csv read_json read_json_auto read_json_objects read_json_objects_auto read_ndjson"
        " read_ndjson_auto read_ndjson_objects read_parquet parquet_scan parquet_metadata parquet_schema"
        " parquet_file_metadata parquet_kv_metadata parquet_bloom_probe read_text read_blob glob iceberg_scan"
        " iceberg_metadata iceberg_snapshots delta_scan arrow_scan pandas_scan sqlite_scan sqlite_attach postgres_scan"
        " postgres_scan_pushdown postgres_attach mysql_scan st_read st_readosm st_read_meta read_xlsx read_avro"
        " read_arrow scan_arrow_ipc write_log"
    ),
    dynamic_sql=(
        "query query_table postgres_query mysql_query sqlite_query postgres_execute mysql_execute from_substrait"
        " from_substrait_json json_execute_serialized_sql odbc_query odbc_scan"
    ),
    library="load_aws_credentials",
    secrets="getenv duckdb_secrets which_secret",
    network="http_get http_post http_head http_post_form",
    admin="checkpoint force_checkpoint enable_logging disable_logging truncate_duckdb_logs",
    sequence="setval",
)
# Snowflake, "System functions", "File functions", "Secret handling".
_SNOWFLAKE: Final = _by_name(
    admin=(
        "system$abort_session system$abort_transaction system$cancel_query system$cancel_all_queries"
        " system$pipe_force_resume system$task_dependents_enable system$user_task_cancel_ongoing_executions"
        " system$set_return_value system$global_account_set_parameter system$enable_behavior_change_bundle"
        " system$disable_behavior_change_bundle"
    ),
    holds="system$wait",
    file_access="get_presigned_url build_scoped_file_url build_stage_file_url infer_schema directory",
    network="system$send_email system$send_snowflake_notification system$generate_scim_access_token",
    secrets="system$show_oauth_client_secrets system$generate_saml_csr",
)
# GoogleSQL: federated queries run the source's own SQL.
_BIGQUERY: Final = _by_name(dynamic_sql="external_query", file_access="obj.get_access_url")
# ClickHouse, "Table functions".
_CLICKHOUSE: Final = _by_name(
    file_access=(
        "file filecluster s3 s3cluster gcs hdfs hdfscluster azureblobstorage azureblobstoragecluster iceberg icebergs3"
        " icebergazure iceberghdfs iceberglocal icebergs3cluster deltalake deltalakes3 deltalakeazure deltalakelocal"
        " hudi hudicluster paimon oss cosn input"
    ),
    network=(
        "url urlcluster remote remotesecure cluster clusterallreplicas mysql postgresql mongodb redis sqlite jdbc odbc"
        " ytsaurus arrowflight"
    ),
    program="executable",
    holds="sleep sleepeachrow",
    secrets="getmacro",
)
# Spark and Databricks: reflection runs any Java method; read_files and its like read storage.
_SPARK: Final = _by_name(
    program="reflect java_method try_reflect",
    file_access="read_files cloud_files read_kafka read_kinesis read_pubsub read_pulsar list_files",
    secrets="secret try_secret",
    network="http_request remote_query",
)
# Trino: what connectors pass through to their databases.
_TRINO: Final = _by_name(dynamic_sql="query raw_query procedure")


def _all(*tables: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType({name: code for table in tables for name, code in table.items()})


# Names that mean one thing, in whatever dialect they stand.
_TELLING: Final = (
    "pg_", "lo_", "dblink", "sys_e", "sys_b", "xp_", "sp_", "load_", "query_to", "openrowset", "openquery",
    "opendatasource", "writefile", "readfile",
)  # fmt: skip
_ANYWHERE: Final = MappingProxyType(
    {
        name: code
        for table in (_POSTGRES, _MYSQL, _TSQL, _SQLITE)
        for name, code in table.items()
        if name.startswith(_TELLING)
    }
)
FUNCTIONS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        # Whatever database it is.
        "ansi": _all(_POSTGRES, _MYSQL, _SQLITE, _TSQL, _ORACLE, _DUCKDB, _SPARK),
        "bigquery": _all(_ANYWHERE, _BIGQUERY),
        "clickhouse": _all(_ANYWHERE, _CLICKHOUSE),
        "databricks": _all(_ANYWHERE, _SPARK),
        "duckdb": _all(_ANYWHERE, _DUCKDB),
        "mysql": _all(_ANYWHERE, _MYSQL),
        "oracle": _all(_ANYWHERE, _ORACLE),
        "postgres": _all(_ANYWHERE, _POSTGRES),
        "redshift": _all(_ANYWHERE, _POSTGRES),
        "snowflake": _all(_ANYWHERE, _SNOWFLAKE),
        "spark": _all(_ANYWHERE, _SPARK),
        "sqlite": _all(_ANYWHERE, _SQLITE),
        "trino": _all(_ANYWHERE, _TRINO),
        "tsql": _all(_ANYWHERE, _TSQL),
    }
)
# By how they begin, for families that grow with each release.
PREFIXES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = MappingProxyType(
    {
        "postgres": (
            ("pg_read_", "file_access"), ("pg_ls_", "file_access"), ("pg_file_", "file_access"),
            ("pg_stat_reset", "admin"), ("dblink", "network"), ("binary_upgrade_", "admin"),
        ),
        "tsql": (("xp_", "program"), ("sp_", "procedure")),
        "duckdb": (("read_", "file_access"), ("parquet_", "file_access")),
        "mysql": (("sys_", "program"), ("keyring_", "secret"), ("audit_log_", "admin")),
    }
)  # fmt: skip
# Oracle packages: whatever is called of them, with brackets or without.
PACKAGES: Final[Mapping[str, str]] = _by_name(
    file_access=(
        "utl_file dbms_backup_restore dbms_file_transfer dbms_datapump dbms_advisor dbms_xslprocessor dbms_cloud"
        " dbms_dbfs_content dbms_dbfs_sfs ordsys dbms_logmnr dbms_xmldom dbms_xmlparser"
    ),
    network="utl_http utl_smtp utl_tcp utl_inaddr utl_mail dbms_ldap utl_dbws dbms_network_acl_admin apex_web_service",
    dynamic_sql=(
        "dbms_sql dbms_xmlgen dbms_xmlquery dbms_xmlsave dbms_xmlstore dbms_utility dbms_export_extension ctxsys"
        " dbms_repcat_rpc dbms_cdc_publish dbms_cdc_subscribe dbms_sql_translator"
    ),
    program="dbms_java dbms_java_test dbms_scheduler dbms_job dbms_isched dbms_hprof dbms_jvm_exp_perms",
    holds="dbms_lock dbms_session dbms_alert dbms_pipe",
    admin=(
        "dbms_system dbms_shared_pool dbms_redefinition dbms_repair dbms_space_admin dbms_stats dbms_resource_manager"
        " dbms_flashback dbms_streams_adm dbms_aqadm dbms_capture_adm dbms_apply_adm dbms_service dbms_snapshot"
        " dbms_mview dbms_refresh dbms_transaction dbms_defer dbms_parallel_execute owa_util"
    ),
    privilege="dbms_rls dbms_sys_sql dbms_fga dbms_macadm dbms_redact dbms_privilege_capture dbms_credential",
)
# Packages that only compute; other DBMS_ and UTL_ ones are taken for the worst.
HARMLESS_PACKAGES: Final = frozenset(
    {
        "dbms_random", "dbms_lob", "dbms_metadata", "dbms_output", "dbms_crypto", "dbms_obfuscation_toolkit",
        "dbms_rowid", "dbms_xplan", "utl_raw", "utl_i18n", "utl_encode", "utl_match", "utl_url", "utl_lms",
        "dbms_assert", "dbms_comparison", "dbms_application_info", "utl_compress", "dbms_db_version", "utl_ident",
    }
)  # fmt: skip
# Functions that change something, of those above whose code does not say so.
WRITING_FUNCTIONS: Final = frozenset(
    {
        "lo_import", "lo_export", "lo_create", "lo_creat", "lo_unlink", "lo_from_bytea", "lo_put", "lo_truncate",
        "lo_truncate64", "lowrite", "pg_file_write", "pg_file_rename", "pg_file_unlink", "writefile", "edit", "zipfile",
        "fileio_write", "fileio_mkdir", "fileio_symlink", "fileio_append", "write_log", "query_export_to_s3",
        "table_import_from_s3", "lo_open", "keyring_key_remove", "keyring_key_store", "keyring_key_generate",
        "http_post", "http_put", "http_delete", "http_patch",
    }
)  # fmt: skip
# Codes under which a function changes something, or may.
WRITING_CODES: Final = frozenset({"dynamic_sql", "admin", "program", "library", "sequence", "procedure", "privilege"})
# DuckDB and Spark read files where a table is expected.
FILE_ENDINGS: Final = (
    ".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson", ".parquet", ".gz", ".zst", ".db", ".duckdb", ".xlsx", ".avro",
    ".orc", ".arrow", ".bz2", ".sqlite", ".feather",
)  # fmt: skip
FILE_FORMATS: Final = frozenset(
    {"csv", "json", "parquet", "orc", "text", "binaryfile", "avro", "delta", "iceberg", "xml", "hudi"}
)
# SQLite's table-valued functions can be named without brackets.
FILE_TABLES: Final = frozenset({"fsdir", "zipfile", "csv", "sqlite_dbpage", "vsv", "lsdir"})
