"""The status page in a real browser, and pictures of it."""
