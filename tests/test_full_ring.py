"""What fills the ring to a worker and has no answer keeps nobody waiting."""

import random
from pathlib import Path

from tasks import until, wait_for_file

import plait

LIMIT = 60

(A, B, C, D, E, F, G, H) = (random.Random(seed).randbytes(60_000) for seed in range(8))


def supervisor_sleeps():
    for task in Path("/proc/self/task").iterdir():
        name, _, rest = (task / "stat").read_text().rpartition(")")
        # The kernel keeps 15 characters.
        if name.endswith("(plait-supervise"):
            return rest.split()[0] == "S"
    raise AssertionError("there is no supervisor")


def test_a_function_of_many_images_comes_through():
    # Each global is an image of its own: a whole message that has no answer.
    def weigh():
        return sum(map(len, (A, B, C, D, E, F, G, H)))

    for _ in range(3):
        with plait.ProcessPoolExecutor(1) as pool:
            assert pool.submit(int, 1).result(LIMIT) == 1
            until(supervisor_sleeps)
            assert pool.submit(weigh).result(LIMIT) == 480_000


def test_tasks_that_were_taken_back_make_room(tmp_path):
    with plait.ProcessPoolExecutor(1) as pool:
        assert pool.submit(len, b"").result(LIMIT) == 0
        for number in range(3):
            gate = tmp_path / str(number)
            busy = pool.submit(wait_for_file, gate)
            until(busy.running)
            for _ in range(60):
                assert pool.submit(len, random.randbytes(12_000)).cancel()
            last = pool.submit(len, random.randbytes(12_000))
            assert not busy.done()
            gate.touch()
            assert last.result(LIMIT) == 12_000
