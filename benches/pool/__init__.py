"""The process pool beside its peers: see docs/benchmarks.md."""
