"""plait's thread pool beside its peers: what it costs to hand out a task.

The task does nothing, so every microsecond is the pool's. The process pool has a table of its own:
see `bench_pool.py`. The rows are in `threads/rows.py`.
"""

from threads.command import main

if __name__ == "__main__":
    main()
