"""The process around the data path: sockets, signals, reload, drain, systemd."""
