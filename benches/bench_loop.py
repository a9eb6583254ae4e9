"""plait's event loop beside its peers: see docs/benchmarks.md."""

from loop.command import main

if __name__ == "__main__":
    main()
