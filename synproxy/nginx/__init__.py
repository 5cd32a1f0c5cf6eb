"""nginx's configuration and logs, read for those who come from there."""
