"""What is risky, dead or missing in a configuration that is well-formed."""
