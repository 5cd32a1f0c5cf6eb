"""A synproxy with stand-ins for Synapse's workers behind it, to try and to look at."""
