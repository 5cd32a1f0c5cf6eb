"""Listeners and client connections; knows nothing of servers."""
