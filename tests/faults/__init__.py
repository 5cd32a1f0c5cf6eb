"""Every way in which a server fails, and all that follows from it."""
