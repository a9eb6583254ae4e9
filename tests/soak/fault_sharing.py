"""What `faults.py` shares with the workers of a pool, and the tasks that look at it."""

import asyncio
import zlib

from fault_jobs import Job, make_array, make_bytes, same, same_array

# So many objects of a pool are shared at a time.
OBJECTS = 8


def digest_shared(handle):
    return zlib.crc32(handle.get())


async def digest_shared_in_a_loop(handle):
    await asyncio.sleep(0)
    return zlib.crc32(handle.get())


def part_of_shared(handle, start, stop):
    return handle.get()[start:stop]


def hand_back(handle):
    """Return the object's handle: it is the parent's again, or the object itself."""
    return handle.get()


def write_to_shared(handle):
    handle.get()[...] = 0


class Shares:
    """Objects that come and go while tasks look at them.

    Args:
        pool: whose workers see them.
        other: chooses other tasks.
    """

    def __init__(self, pool, other):
        self.pool = pool
        self.other = other
        # Each with what is in it.
        self.handles = []

    def choose(self, chance):
        """Choose a task, often one that looks at something shared."""
        if chance.random() < 0.4:
            return self.other(chance)
        if len(self.handles) < OBJECTS:
            data = make_array(chance) if chance.random() < 0.6 else make_bytes(chance)
            self.handles.append((self.pool.share(data), data))
        at = chance.randrange(len(self.handles))
        handle, data = self.handles[at]
        if chance.random() < 0.1:
            # Gone here; the task that is about to be made has it still.
            del self.handles[at]
        how = chance.randrange(5)
        if isinstance(data, bytes) or how == 0:
            digest = chance.choice((digest_shared, digest_shared_in_a_loop))
            return Job("shared digest", digest, (handle,), same(zlib.crc32(data)))
        if how == 1:
            return Job("array shared", hand_back, (handle,), same_array(data))
        if how == 2:
            return Job(
                "shared written",
                write_to_shared,
                (handle,),
                error=lambda error: isinstance(error, ValueError) and "read-only" in str(error),
            )
        start = chance.randrange(len(data) + 1)
        stop = chance.randrange(start, len(data) + 1)
        args = (handle, start, stop)
        return Job("array part shared", part_of_shared, args, same_array(data[start:stop]))
