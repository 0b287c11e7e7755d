//! Directives whose fate does not depend on what they say.

use super::ledger::Verdict;

const PEOPLE: &str = "the gateway's own sign-in stands for it, with a second factor; who may enter is whom the app's group names";
const SOCKETS: &str = "buffers, sockets and threads need no settings";
const TLS: &str = "TLS 1.2 and 1.3 with modern ciphers, sessions resumed, nothing to set";
const CERTIFICATES: &str = "certificates stand in postern.toml: [tls] certificates, or ACME";
const LOGS: &str = "every decision is in the journal: postern audit";
const TIMES: &str = "slow clients are cut off: ten seconds for a head, an hour for a body";
const STREAMED: &str = "bodies and answers are passed on as they come";
const NAMES: &str = "the hosts of all apps are in one table, of any size";
const RETRIES: &str = "an upstream that does not answer is left out for a while; only requests that may be sent twice are sent to the next";
const PAGES: &str = "an app's own error pages pass; where none answers, the gateway's page says what happened and names the request";
const NO_HTTP: &str = "the gateway speaks HTTP to apps; put the program's own HTTP server here";
const CLIENTS: &str = "client certificates are set for a host in postern.toml, not in the policy";

type Names = &'static [&'static str];

const TABLE: [(Verdict, &str, Names); 17] = [
    (
        Verdict::Done,
        SOCKETS,
        &[
            "user",
            "pid",
            "daemon",
            "worker_processes",
            "worker_connections",
            "worker_rlimit_nofile",
            "worker_cpu_affinity",
            "worker_priority",
            "multi_accept",
            "use",
            "accept_mutex",
            "load_module",
            "pcre_jit",
            "thread_pool",
            "master_process",
            "sendfile",
            "sendfile_max_chunk",
            "tcp_nopush",
            "tcp_nodelay",
            "aio",
            "directio",
            "output_buffers",
            "large_client_header_buffers",
            "client_header_buffer_size",
            "client_body_buffer_size",
            "client_body_temp_path",
            "client_body_in_file_only",
            "proxy_temp_path",
            "fastcgi_temp_path",
            "uwsgi_temp_path",
            "scgi_temp_path",
            "connection_pool_size",
            "request_pool_size",
            "postpone_output",
            "reset_timedout_connection",
            "open_file_cache",
            "open_file_cache_valid",
            "open_file_cache_min_uses",
            "open_file_cache_errors",
            "keepalive",
            "keepalive_timeout",
            "keepalive_requests",
            "keepalive_time",
            "keepalive_disable",
            "lingering_close",
            "lingering_time",
            "types_hash_max_size",
            "types_hash_bucket_size",
            "variables_hash_max_size",
            "variables_hash_bucket_size",
            "map_hash_max_size",
            "map_hash_bucket_size",
            "env",
            "timer_resolution",
            "zone",
            "proxy_headers_hash_max_size",
            "proxy_headers_hash_bucket_size",
            "proxy_socket_keepalive",
        ],
    ),
    (
        Verdict::Done,
        TLS,
        &[
            "ssl",
            "ssl_protocols",
            "ssl_ciphers",
            "ssl_prefer_server_ciphers",
            "ssl_session_cache",
            "ssl_session_timeout",
            "ssl_session_tickets",
            "ssl_session_ticket_key",
            "ssl_dhparam",
            "ssl_ecdh_curve",
            "ssl_stapling",
            "ssl_stapling_verify",
            "ssl_trusted_certificate",
            "ssl_buffer_size",
            "ssl_early_data",
            "ssl_conf_command",
            "ssl_reject_handshake",
            "http2",
            "http2_max_concurrent_streams",
            "http2_push",
        ],
    ),
    (
        Verdict::Done,
        CERTIFICATES,
        &[
            "ssl_certificate",
            "ssl_certificate_key",
            "ssl_password_file",
        ],
    ),
    (
        Verdict::Done,
        LOGS,
        &[
            "access_log",
            "error_log",
            "log_format",
            "log_not_found",
            "log_subrequest",
            "rewrite_log",
            "open_log_file_cache",
            "limit_req_log_level",
            "limit_conn_log_level",
        ],
    ),
    (
        Verdict::Done,
        TIMES,
        &[
            "client_header_timeout",
            "client_body_timeout",
            "send_timeout",
            "lingering_timeout",
            "proxy_send_timeout",
            "resolver_timeout",
        ],
    ),
    (
        Verdict::Done,
        STREAMED,
        &[
            "proxy_buffering",
            "proxy_request_buffering",
            "proxy_buffers",
            "proxy_buffer_size",
            "proxy_busy_buffers_size",
            "proxy_max_temp_file_size",
            "proxy_temp_file_write_size",
            "proxy_http_version",
            "proxy_force_ranges",
            "chunked_transfer_encoding",
        ],
    ),
    (
        Verdict::Done,
        NAMES,
        &[
            "server_names_hash_max_size",
            "server_names_hash_bucket_size",
            "server_name_in_redirect",
            "port_in_redirect",
            "absolute_redirect",
            "merge_slashes",
            "default_type",
            "types",
            "charset",
            "charset_types",
            "etag",
            "if_modified_since",
            "resolver",
        ],
    ),
    (
        Verdict::Done,
        "no answer says which program or version gave it",
        &["server_tokens"],
    ),
    (
        Verdict::Done,
        "the caches of browsers and proxies are told what differs by Accept-Encoding",
        &[
            "gzip_vary",
            "gzip_proxied",
            "gzip_http_version",
            "gzip_disable",
            "gzip_buffers",
        ],
    ),
    (
        Verdict::Done,
        "one request at a time fetches an answer that is kept; others wait or get the old one",
        &[
            "proxy_cache_lock",
            "proxy_cache_lock_timeout",
            "proxy_cache_lock_age",
            "proxy_cache_background_update",
            "proxy_cache_revalidate",
        ],
    ),
    (
        Verdict::Differs,
        PEOPLE,
        &[
            "auth_basic",
            "auth_request",
            "auth_request_set",
            "auth_jwt",
            "auth_delay",
        ],
    ),
    (
        Verdict::Differs,
        RETRIES,
        &[
            "proxy_next_upstream",
            "proxy_next_upstream_tries",
            "proxy_next_upstream_timeout",
            "max_fails",
        ],
    ),
    (
        Verdict::Differs,
        PAGES,
        &[
            "error_page",
            "proxy_intercept_errors",
            "recursive_error_pages",
        ],
    ),
    (
        Verdict::Differs,
        "an answer is compressed as it is sent, not taken from a file beside",
        &["gzip_static", "gunzip"],
    ),
    (
        Verdict::Differs,
        "connections of one source are capped for all apps together; 429 tells a client that is too quick",
        &[
            "limit_conn",
            "limit_conn_zone",
            "limit_conn_status",
            "limit_conn_dry_run",
        ],
    ),
    (
        Verdict::NotUnderstood,
        NO_HTTP,
        &[
            "fastcgi_pass",
            "uwsgi_pass",
            "scgi_pass",
            "memcached_pass",
            "fastcgi_param",
            "fastcgi_index",
            "fastcgi_split_path_info",
            "fastcgi_read_timeout",
            "fastcgi_buffers",
            "fastcgi_buffer_size",
            "uwsgi_param",
            "scgi_param",
        ],
    ),
    (
        Verdict::NotUnderstood,
        CLIENTS,
        &[
            "ssl_client_certificate",
            "ssl_verify_client",
            "ssl_verify_depth",
            "ssl_crl",
        ],
    ),
];

/// What becomes of a directive by its name alone.
pub(super) fn fate(name: &str) -> Option<(Verdict, &'static str)> {
    let found = TABLE.iter().find(|(_, _, names)| names.contains(&name));
    found.map(|(verdict, says, _)| (*verdict, *says))
}

/// Whether a directive that is not carried over may keep people out in nginx.
pub(super) fn bars(name: &str) -> bool {
    const BARRING: [&str; 10] = [
        "allow",
        "deny",
        "satisfy",
        "if",
        "valid_referers",
        "secure_link",
        "ssl_verify_client",
        "limit_except",
        "internal",
        "access_by_lua_block",
    ];
    BARRING.contains(&name) || name.starts_with("geo") || name.starts_with("access_by_lua")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn no_directive_has_two_fates() {
        let mut seen = BTreeSet::new();
        for name in super::TABLE.iter().flat_map(|(_, _, names)| *names) {
            assert!(seen.insert(name), "{name}");
        }
    }
}
