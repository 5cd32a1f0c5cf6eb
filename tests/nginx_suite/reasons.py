"""Which of nginx's tests are run, and why some fail with synproxy."""

from __future__ import annotations

CHOSEN = (
    *("access.t", "map.t", "http_location.t", "http_location_auto.t", "http_keepalive.t"),
    *("http_host.t", "http_method.t", "http_uri.t", "http_header_buffers.t", "http_max_headers.t"),
    *("http_expect_100_continue.t", "ignore_invalid_headers.t", "merge_slashes.t"),
    *("body.t", "body_chunked.t", "gzip.t", "limit_rate.t"),
    *("proxy.t", "proxy_available.t", "proxy_chunked.t", "proxy_chunked_extra.t"),
    *("proxy_connection_headers.t", "proxy_duplicate_headers.t", "proxy_early_hints.t"),
    *("proxy_extra_data.t", "proxy_if.t", "proxy_implicit.t", "proxy_keepalive.t"),
    *("proxy_merge_headers.t", "proxy_method.t", "proxy_next_upstream.t"),
    *("proxy_next_upstream_tries.t", "proxy_noclose.t", "proxy_non_idempotent.t"),
    *("proxy_pass_request.t", "proxy_request_buffering.t", "proxy_request_buffering_chunked.t"),
    *("proxy_request_buffering_keepalive.t", "proxy_trailers.t", "proxy_unfinished.t"),
    *("proxy_unix.t", "proxy_upgrade.t", "proxy_websocket.t", "proxy_xar.t"),
    *("realip.t", "realip_remote_addr.t", "realip_remote_port.t"),
    *("upstream_hash.t", "upstream_ip_hash.t", "upstream_keepalive.t", "upstream_least_conn.t"),
    *("upstream_max_conns.t", "upstream_random.t"),
)

REASONS: dict[str, str] = {
    "access.t": "The proxy in front maps /inet/ to /: synproxy forwards targets as they came.",
    "map.t": "The values are looked at through add_header.",
    "http_location.t": "The locations are told apart by add_header; that they are found as nginx "
    "finds them is shown in tests/differential/test_import_others.py.",
    "http_keepalive.t": "Files are served, and keepalive_* of single locations.",
    "http_host.t": "$host is looked at through the body of a return.",
    "proxy.t": "A query names the server, paths are rewritten, times are read from a log format.",
    "proxy_chunked.t": "The test without a proxied request of the client goes through SSI.",
    "proxy_keepalive.t": "Those named inmemory go through SSI and rewrite.",
    "proxy_extra_data.t": "Answers of its server end their lines in a bare LF, which is refused.",
    "proxy_unix.t": "A query names the server, which anybody could then choose.",
}
"""What was looked into, by file."""
