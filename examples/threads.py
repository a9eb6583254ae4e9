"""Blocking calls in a thread pool, awaited from a coroutine."""

import time

import plait


def ask(name: str) -> str:
    """Block for a while, as a database driver does."""
    time.sleep(0.2)
    return f"an answer from {name}"


async def main(pool: plait.ThreadPoolExecutor) -> None:
    """Ask three at once; the loop stays free meanwhile."""
    futures = [pool.submit(ask, name) for name in ("Ada", "Grace", "Edith")]
    start = time.perf_counter()
    for future in futures:
        print(await future)
    print(f"three calls of 0.2 s took {time.perf_counter() - start:.2f} s")


if __name__ == "__main__":
    with plait.ThreadPoolExecutor(3) as pool:
        plait.run(main(pool))
