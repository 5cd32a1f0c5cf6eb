"""What an operator sees: the access log."""
