"""The parts of the benchmarks that only calculate and write."""
