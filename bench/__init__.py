"""Benchmarks: what synproxy costs, next to other proxies. See README.md."""
