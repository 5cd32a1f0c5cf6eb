"""Connections to Synapse servers and their keep-alive pools; knows nothing of clients."""
