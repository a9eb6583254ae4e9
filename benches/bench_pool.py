"""plait's process pool beside its peers: see docs/benchmarks.md."""

from pool.command import main

if __name__ == "__main__":
    main()
