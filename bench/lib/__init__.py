"""What the benchmarks share: start a proxy, measure it, stand in for Synapse, write tables."""
