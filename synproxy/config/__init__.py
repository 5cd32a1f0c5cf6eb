"""The frozen model of the YAML configuration and its loader."""
