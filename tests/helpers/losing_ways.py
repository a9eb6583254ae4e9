"""Sixteen programs that lose an exception; docs/lost.md tells of them.

Each defines what it needs from a prelude: `run`, `Threads`, `Processes`,
`Pool` are the standard ones or plait's. The line that submits what is lost
ends with `# here`.
"""

STANDARD = """\
import asyncio, concurrent.futures, gc, multiprocessing, threading
from asyncio import run
from concurrent.futures import ProcessPoolExecutor as Processes, ThreadPoolExecutor as Threads
from multiprocessing import Pool
"""

PLAIT = """\
import asyncio, concurrent.futures, gc, multiprocessing, threading
import plait
from plait import run, Pool, ProcessPoolExecutor as Processes, ThreadPoolExecutor as Threads
"""

COMMON = """\
def fail(*args):
    raise ValueError("boom")
BEGUN = threading.Event()
def fail_second(number):
    if not number:
        BEGUN.wait(60)
        raise ValueError("first")
    BEGUN.set()
    raise ValueError("boom")
async def failing():
    raise ValueError("boom")
async def failing_first():
    raise ValueError("first")
KEPT = []
if __name__ == "__main__":
"""


class Way:
    """A way to lose an exception."""

    def __init__(
        self,
        title: str,
        body: str,
        *,
        prints: str = "",
        or_prints: str = "",
        name: str = "fail",
        run: bool = False,
    ) -> None:
        self.title = title
        self.body = body
        # What the standard library says of it; nothing, mostly.
        self.prints = prints
        # What it says of it in some versions.
        self.or_prints = or_prints or prints
        # What the report calls the task.
        self.name = name
        # Whether only `plait run` reports it.
        self.run = run

    def program(self, prelude: str) -> str:
        indented = "".join(f"    {line}\n" for line in self.body.strip().splitlines())
        return prelude + COMMON + indented


WAYS = [
    Way(
        "`submit` to a pool of threads, never asked",
        """
with Threads() as pool:
    pool.submit(fail)  # here
""",
    ),
    Way(
        "`submit` to a pool of processes, never asked",
        """
with Processes(1) as pool:
    pool.submit(fail)  # here
""",
    ),
    Way(
        "`map` of an executor, never iterated",
        """
with Threads() as pool:
    pool.map(fail, [1])  # here
""",
    ),
    Way(
        "a failure behind the first that `map` raises",
        """
with Threads(2) as pool:
    results = pool.map(fail_second, [0, 1])  # here
    try:
        list(results)
    except ValueError as error:
        assert error.args == ("first",)
""",
        name="fail_second",
    ),
    Way(
        "`concurrent.futures.wait`, its futures never looked at",
        """
with Threads() as pool:
    concurrent.futures.wait([pool.submit(fail)])  # here
""",
    ),
    Way(
        "`Pool.apply_async`, never got",
        """
with Pool(1) as pool:
    pool.apply_async(fail)  # here
    pool.close()
    pool.join()
""",
    ),
    Way(
        "`Pool.map_async`, never got",
        """
with Pool(1) as pool:
    pool.map_async(fail, [1])  # here
    pool.close()
    pool.join()
""",
    ),
    Way(
        "`Pool.imap`, never iterated",
        """
with Pool(1) as pool:
    pool.imap(fail, [1])  # here
    pool.close()
    pool.join()
""",
    ),
    Way(
        "`run_in_executor`, not awaited",
        """
async def main():
    asyncio.get_running_loop().run_in_executor(None, fail)  # here
    await asyncio.sleep(0.2)
run(main())
""",
        prints="Future exception was never retrieved",
    ),
    Way(
        "`to_thread` that fails when `wait_for` has given up",
        """
given_up = threading.Event()
def slow():
    given_up.wait(60)
    raise ValueError("boom")
async def call():
    await asyncio.to_thread(slow)  # here
async def main():
    try:
        await asyncio.wait_for(call(), 0.05)
    except TimeoutError:
        given_up.set()
run(main())
""",
        name="slow",
    ),
    Way(
        "`run_coroutine_threadsafe`, its future dropped",
        """
async def main():
    loop = asyncio.get_running_loop()
    def submit():
        asyncio.run_coroutine_threadsafe(failing(), loop)  # here
    await asyncio.to_thread(submit)
    await asyncio.sleep(0.1)
run(main())
""",
        name="failing",
    ),
    Way(
        "`create_task`, dropped",
        """
async def main():
    asyncio.create_task(failing(), name="T")  # here
    await asyncio.sleep(0.1)
run(main())
""",
        prints="Task exception was never retrieved",
        name="T (failing)",
    ),
    Way(
        "`create_task`, kept to the end",
        """
async def main():
    KEPT.append(asyncio.create_task(failing(), name="T"))  # here
    await asyncio.sleep(0.1)
run(main())
""",
        prints="Task exception was never retrieved",
        or_prints="--- Logging error ---",
        name="T (failing)",
    ),
    Way(
        "a second failure in `gather`",
        """
async def main():
    try:
        await asyncio.gather(failing_first(), failing())  # here
    except ValueError as error:
        assert error.args == ("first",)
run(main())
""",
        name="Task-3 (failing)",
        run=True,
    ),
    Way(
        "a callback that raises",
        """
async def main():
    asyncio.get_running_loop().call_soon(fail)
    await asyncio.sleep(0.1)
run(main())
""",
        prints="Exception in callback",
    ),
    Way(
        "a coroutine that nobody awaits",
        """
failing()  # here
""",
        prints="RuntimeWarning: coroutine 'failing' was never awaited",
        name="failing",
        run=True,
    ),
]
