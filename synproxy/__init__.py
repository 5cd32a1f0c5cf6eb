"""synproxy: a reverse proxy in front of a worker-based Synapse."""

__version__ = "0.1.0"
