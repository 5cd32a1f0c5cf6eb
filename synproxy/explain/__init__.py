"""Where a request would go, and why: asked by commands and by the status page."""
