"""Which of nginx's tests are run, and why some fail with synproxy."""

from __future__ import annotations

from typing import Final

CHOSEN: Final = (
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

SEEN: Final = "what happens is read from fields of `add_header`, which are not sent"
PATHS: Final = "`proxy_pass` changes paths, which federation signs: they are forwarded as they came"
NAMED: Final = "the request names its server, which anybody could then choose"
FILES: Final = "files are served"
STATUS: Final = "answers count as failures by their status; here they are passed on"
PAGES: Final = "bodies are looked at in pages of `error_page`, which do not exist"
NOT_HERE: Final = "what it tests does not exist here"

REASONS: Final[dict[str, tuple[str, ...]]] = {
    "access.t": (PATHS,),
    "map.t": (SEEN, "maps are compared in tests/differential/test_variables.py"),
    "http_location.t": (SEEN, "locations are compared in tests/differential/test_import_others.py"),
    "http_location_auto.t": (SEEN, "no redirect adds a slash to a location"),
    "http_keepalive.t": (FILES, "`keepalive_*` is for all locations"),
    "http_host.t": ("`$host` is read from the body of a `return`, which has none here",),
    "http_method.t": (
        'the phrase of 405 is "Method Not Allowed" (RFC 9110), nginx\'s "Not Allowed"',
        "CONNECT is answered 405, with a port or without",
    ),
    "http_uri.t": (SEEN, "paths are compared in tests/differential/test_normalise.py"),
    "http_header_buffers.t": (SEEN,),
    "http_max_headers.t": (FILES,),
    "http_expect_100_continue.t": (FILES, "100 is sent when a server is asked, not for a file"),
    "ignore_invalid_headers.t": (
        SEEN,
        "fields with underscores are always dropped, as by nginx's default",
    ),
    "merge_slashes.t": ("slashes are always merged, as by nginx's default",),
    "body.t": (SEEN, PAGES),
    "body_chunked.t": (SEEN, "a request in HTTP/1.0 or with two lengths is refused at once"),
    "gzip.t": (FILES,),
    "limit_rate.t": (FILES, NOT_HERE),
    "proxy.t": (NAMED, PATHS, "times are read from `add_header`"),
    "proxy_chunked.t": ("one test goes through SSI",),
    "proxy_connection_headers.t": (
        "`Upgrade` in an answer other than 101 is hop-by-hop (RFC 9110 section 7.6.1) and dropped",
    ),
    "proxy_duplicate_headers.t": ("`Expires` that comes twice is passed on, as by this nginx",),
    "proxy_extra_data.t": ("caches and `add_after_body`, which do not exist here",),
    "proxy_if.t": ("`if` and `limit_except`, which do not exist here",),
    "proxy_implicit.t": (SEEN, "a name with several addresses is one server"),
    "proxy_keepalive.t": ("those named inmemory go through SSI and `rewrite`",),
    "proxy_merge_headers.t": ("caches, `proxy_set_body` and `proxy_pass_header`",),
    "proxy_method.t": ("`proxy_method`: a request keeps its method",),
    "proxy_next_upstream.t": (STATUS,),
    "proxy_next_upstream_tries.t": (STATUS,),
    "proxy_non_idempotent.t": (STATUS, SEEN),
    "proxy_pass_request.t": ("fields and bodies are always passed on",),
    "proxy_request_buffering.t": (SEEN, PAGES),
    "proxy_request_buffering_chunked.t": (SEEN, PAGES),
    "proxy_request_buffering_keepalive.t": (SEEN,),
    "proxy_unfinished.t": ("caches, `sub_filter` and temporary files",),
    "proxy_unix.t": (NAMED,),
    "proxy_upgrade.t": ("one test goes through SSI", "`send_timeout` is for all locations"),
    "proxy_xar.t": ("`X-Accel-Redirect` is not followed (`x-accel-redirect`)",),
    "realip.t": (SEEN,),
    "realip_remote_addr.t": (SEEN,),
    "realip_remote_port.t": (SEEN,),
    "upstream_hash.t": (PATHS, STATUS, "`hash` without `consistent` is a ketama ring, too"),
    "upstream_ip_hash.t": (SEEN,),
    "upstream_keepalive.t": (PATHS,),
    "upstream_max_conns.t": (NAMED,),
    "upstream_random.t": (NAMED, "`random` is `least_conn`"),
}
"""Why a file fails with synproxy, in words: what the importer reports and the failing tests ask."""
