"""What the absence of a directive means, for all that no converter knows.

Names and values only. Source: https://nginx.org/en/docs/dirindex.html
"""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence

_NEEDLESS = frozenset(
    [
        "user",
        "daemon",
        "master_process",
        "worker_processes",
        "worker_rlimit_nofile",
        "worker_rlimit_core",
        "worker_cpu_affinity",
        "worker_priority",
        "worker_connections",
        "pid",
        "lock_file",
        "pcre_jit",
        "error_log",
        "events",
        "multi_accept",
        "accept_mutex",
        "use",
        "load_module",
        "env",
        "thread_pool",
        "timer_resolution",
        "working_directory",
        "debug_points",
        "accept_mutex_delay",
        "sendfile",
        "sendfile_max_chunk",
        "tcp_nopush",
        "aio",
        "aio_write",
        "directio",
        "directio_alignment",
        "types",
        "default_type",
        "types_hash_max_size",
        "types_hash_bucket_size",
        "server_names_hash_bucket_size",
        "server_names_hash_max_size",
        "variables_hash_bucket_size",
        "variables_hash_max_size",
        "map_hash_bucket_size",
        "map_hash_max_size",
        "proxy_headers_hash_bucket_size",
        "proxy_headers_hash_max_size",
        "client_body_buffer_size",
        "client_body_temp_path",
        "client_body_in_single_buffer",
        "client_body_in_file_only",
        "connection_pool_size",
        "request_pool_size",
        "output_buffers",
        "postpone_output",
        "read_ahead",
        "reset_timedout_connection",
        "resolver",
        "resolver_timeout",
        "log_format",
        "log_not_found",
        "log_subrequest",
        "open_log_file_cache",
        "open_file_cache",
        "open_file_cache_errors",
        "open_file_cache_min_uses",
        "open_file_cache_valid",
        "keepalive_disable",
        "keepalive_time",
        "if_modified_since",
        "etag",
        "max_ranges",
        "msie_padding",
        "msie_refresh",
        "server_name_in_redirect",
        "port_in_redirect",
        "absolute_redirect",
        "lingering_close",
        "proxy_buffering",
        "proxy_request_buffering",
        "proxy_buffer_size",
        "proxy_buffers",
        "proxy_busy_buffers_size",
        "proxy_max_temp_file_size",
        "proxy_temp_path",
        "proxy_temp_file_write_size",
        "proxy_http_version",
        "proxy_redirect",
        "proxy_limit_rate",
        "proxy_pass_request_headers",
        "proxy_pass_request_body",
        "proxy_force_ranges",
        "proxy_send_lowat",
        "set",
        "fastcgi_temp_path",
        "uwsgi_temp_path",
        "scgi_temp_path",
        "fastcgi_buffers",
        "fastcgi_buffer_size",
        "gzip_buffers",
        "gzip_http_version",
        "gzip_proxied",
        "gzip_static",
        "gunzip",
        "brotli_static",
        "brotli_buffers",
        "charset",
        "autoindex",
        "index",
        "root",
        "server_name",
        "zone",
        "http2_max_concurrent_streams",
        "http2_recv_timeout",
        "http2_idle_timeout",
        "http2_max_requests",
        "http2_chunk_size",
        "http2_body_preread_size",
        "http2_recv_buffer_size",
        "http2_max_field_size",
        "http2_max_header_size",
        "http2_push",
        "http2_push_preload",
        "ssl_session_cache",
        "ssl_buffer_size",
        "ssl_dyn_rec_size_lo",
        "limit_req_status",
        "limit_req_log_level",
        "limit_conn_status",
        "limit_conn_log_level",
        "limit_req_zone",
        "limit_conn_zone",
        "proxy_cache_path",
    ]
)
"""What belongs to nginx's way of working: its processes, its buffers, its files."""

_ONLY_THIS = {
    "merge_slashes": ("on", "slashes are always merged before a route is chosen"),
    "underscores_in_headers": ("off", "fields with underscores in their names are always dropped"),
    "ignore_invalid_headers": ("on", "a request with a field name that is none is refused"),
    "chunked_transfer_encoding": ("on", "answers without a length are always chunked"),
    "proxy_cache": ("off", "nothing is cached"),
    "proxy_intercept_errors": ("off", "answers of servers are passed on as they are"),
    "auth_basic": ("off", "no password is asked for"),
    "auth_request": ("off", "nobody is asked for permission"),
    "limit_rate": ("0", "answers are as fast as the client reads"),
    "proxy_ssl_verify": ("off", "servers are spoken to without TLS"),
    "proxy_ssl_server_name": ("off", "servers are spoken to without TLS"),
    "gzip_static": ("off", ""),
    "expires": ("off", ""),
    "http2": ("off", "HTTP/1.1 is spoken"),
}
"""Directives that need nothing with one value, and what it means that others are gone."""

_LOST = {
    "if": "conditions do not exist: write a route with methods, or a map that names the pool",
    "rewrite": "the request-target is forwarded as it came, since federation signs it",
    "root": "no files are served",
    "alias": "no files are served",
    "try_files": "no files are served",
    "error_page": "errors are answered as Matrix JSON, which clients understand",
    "add_header": "answers get no further fields; Synapse sends its own CORS fields",
    "add_trailer": "answers get no trailers",
    "expires": "answers keep the Cache-Control of the server",
    "limit_req": "the rate of requests is not limited here (Synapse has limits: rc_message, ...)",
    "limit_conn": "the number of connections is not limited here",
    "limit_rate": "answers are as fast as the client reads",
    "limit_rate_after": "answers are as fast as the client reads",
    "limit_except": "the methods are not limited: write a route with methods",
    "auth_basic": "no password is asked for",
    "auth_basic_user_file": "no password is asked for",
    "auth_request": "nobody is asked for permission",
    "auth_request_set": "nobody is asked for permission",
    "set_real_ip_from": "the address of the connection is the client's",
    "real_ip_header": "the address of the connection is the client's",
    "real_ip_recursive": "the address of the connection is the client's",
    "proxy_protocol": "the PROXY protocol is not read here",
    "proxy_cache": "nothing is cached: each request reaches a server",
    "proxy_set_body": "the client's body is sent",
    "proxy_method": "the client's method is sent",
    "proxy_bind": "connections to servers come from the kernel's choice of address",
    "proxy_store": "nothing is stored",
    "proxy_pass_header": "Server and the X-Accel fields of an answer stay hidden",
    "proxy_ignore_headers": "the X-Accel fields of an answer have no effect anyway",
    "stub_status": "there is no page of counters at this path",
    "sub_filter": "bodies are passed on unchanged",
    "mirror": "requests are sent once",
    "geo": "addresses choose no value: use allowlists, or a map over $remote_addr",
    "split_clients": "requests are not split by chance: use a pool with hash and weights",
    "stream": "only HTTP is proxied",
    "mail": "only HTTP is proxied",
    "grpc_pass": "gRPC is not spoken",
    "fastcgi_pass": "FastCGI is not spoken",
    "uwsgi_pass": "uwsgi is not spoken",
    "scgi_pass": "SCGI is not spoken",
    "internal": "there are no internal redirects that could reach it",
    "server": "a second server block: see --server",
    "http2": "HTTP/1.1 is spoken",
    "sticky": "a pool with hash keeps users at their server",
    "health_check": "write health_check in the pool",
    "limit_zone": "the number of connections is not limited here",
}

_LOST_PATTERNS = {
    "ssl_*": "TLS ends elsewhere",
    "proxy_ssl_*": "servers are spoken to without TLS",
    "proxy_cookie_*": "cookies are passed on as they are",
    "proxy_cache_*": "nothing is cached",
    "sub_filter_*": "bodies are passed on unchanged",
    "auth_jwt*": "no token is checked here",
    "js_*": "no JavaScript runs here",
    "*_by_lua*": "no Lua runs here",
    "lua_*": "no Lua runs here",
    "more_*_headers": "answers get no further fields",
    "quic_*": "HTTP/3 is not spoken",
    "http3*": "HTTP/3 is not spoken",
    "brotli*": "write http.brotli",
    "zstd*": "write http.zstd",
    "image_filter*": "bodies are passed on unchanged",
    "add_*_body": "bodies are passed on unchanged",
}


_KNOWN = {
    *("proxy_pass", "proxy_set_header", "proxy_hide_header", "proxy_next_upstream"),
    *("proxy_next_upstream_tries", "proxy_next_upstream_timeout", "proxy_connect_timeout"),
    *("proxy_send_timeout", "proxy_read_timeout", "proxy_socket_keepalive"),
    *("proxy_ignore_client_abort", "client_max_body_size", "allow", "deny", "satisfy"),
    *("client_header_timeout", "client_body_timeout", "send_timeout", "keepalive_timeout"),
    *("keepalive_requests", "client_header_buffer_size", "large_client_header_buffers"),
    *("lingering_time", "lingering_timeout", "tcp_nodelay", "server_tokens", "gzip"),
    *("gzip_comp_level", "gzip_min_length", "gzip_vary", "gzip_disable", "gzip_types"),
    *("access_log", "return", "upstream", "map", "location"),
}
"""What converters know: where it was not carried over, another directive holds instead."""


def is_simple(name: str) -> bool:
    """Whether a directive ends in ``;`` and never has a block."""
    blocks = {"events", "types", "upstream", "map", "location", "set", "use"}
    return name in (_NEEDLESS | _KNOWN | {"listen", "include", "add_header"}) - blocks


def judge(name: str, args: Sequence[str]) -> str | None:
    """What it means that a directive is gone; None: nothing."""
    if name in _ONLY_THIS:
        value, meaning = _ONLY_THIS[name]
        if tuple(args[:1]) == (value,):
            return None
        return _LOST.get(name, meaning)
    if name in _NEEDLESS or name in _KNOWN:
        return None
    if name in _LOST:
        return _LOST[name]
    for pattern, meaning in _LOST_PATTERNS.items():
        if fnmatch.fnmatchcase(name, pattern):
            return meaning
    return "nothing is known of this directive, and it has no effect"
