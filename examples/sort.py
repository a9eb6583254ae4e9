"""Sorting in pure Python, in processes: computing that holds the interpreter lock.

Needs no `if __name__ == "__main__":` guard: the workers do not run this file.
"""

import heapq
import random
import time

import plait


def merge_sort(numbers: list[int]) -> list[int]:
    """Sort into a new list, by merging sorted halves."""
    middle = len(numbers) // 2
    if not middle:
        return numbers[:]
    return list(heapq.merge(merge_sort(numbers[:middle]), merge_sort(numbers[middle:])))


lists = [[random.randrange(1_000_000) for _ in range(10_000)] for _ in range(20)]

start = time.perf_counter()
serial = [merge_sort(numbers) for numbers in lists]
print(f"one after another: {time.perf_counter() - start:.2f} s")

with plait.ProcessPoolExecutor() as pool:
    start = time.perf_counter()
    parallel = list(pool.map(merge_sort, lists))
    print(f"in processes:      {time.perf_counter() - start:.2f} s")

assert serial == parallel == [sorted(numbers) for numbers in lists]
