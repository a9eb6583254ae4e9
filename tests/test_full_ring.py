"""What fills the ring to a worker and has no answer keeps nobody waiting."""

import random
import time

from tasks import until

import plait

LIMIT = 60

(A, B, C, D, E, F, G, H) = (random.Random(seed).randbytes(60_000) for seed in range(8))


def test_a_function_of_many_images_comes_through():
    # Each global is an image of its own: a whole message that has no answer.
    def weigh():
        return sum(map(len, (A, B, C, D, E, F, G, H)))

    for _ in range(3):
        with plait.ProcessPoolExecutor(1) as pool:
            assert pool.submit(int, 1).result(LIMIT) == 1
            # The supervisor sleeps.
            time.sleep(0.1)
            assert pool.submit(weigh).result(LIMIT) == 480_000


def test_tasks_that_were_taken_back_make_room():
    with plait.ProcessPoolExecutor(1) as pool:
        assert pool.submit(len, b"").result(LIMIT) == 0
        for _ in range(3):
            busy = pool.submit(time.sleep, 0.2)
            until(busy.running)
            for _ in range(60):
                assert pool.submit(len, random.randbytes(12_000)).cancel()
            assert pool.submit(len, random.randbytes(12_000)).result(LIMIT) == 12_000
