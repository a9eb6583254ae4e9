"""Plays a scenario on asyncio's own loop and on plait's, and compares what came of it.

A scenario is a coroutine function that takes a `Record`. It notes what it sees; what the loop
reports to its exception handler, what asyncio logs and what comes out of the run is noted for it.
asyncio's loop is the model: both transcripts must be the same, and neither run may leave a
descriptor or, on plait's loop, an object behind.
"""

import asyncio
import collections
import gc
import logging
import os
import re
import socket
import struct
import sys
import threading

import plait

# A scenario that hangs is a failure, not a wait: far more than any needs.
PATIENCE = 30.0

FACTORIES = {"plait": plait.new_event_loop, "asyncio": asyncio.SelectorEventLoop}

# Early patch releases of 3.11 have faults (pausing in `connection_made`, a TLS transport that
# is aborted twice) that later ones do not: there asyncio's loop is no model.
MODEL_IS_MENDED = sys.version_info >= (3, 11, 7)


class Session:
    """Runs a coroutine on a loop of the factory; `reported` is what that loop told of errors."""

    def __init__(self, factory):
        self.factory = factory
        self.reported = []

    @property
    def is_plait(self):
        return self.factory is plait.new_event_loop

    def __call__(self, main):
        with asyncio.Runner(loop_factory=self.factory) as runner:
            loop = runner.get_loop()
            loop.set_exception_handler(lambda _, context: self.reported.append(context))
            return runner.run(asyncio.wait_for(main, PATIENCE))


class Record(logging.Handler):
    """What was seen, in order, in words that do not depend on the loop."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.notes = []
        self.reported = []
        self.logged = []

    def note(self, *what):
        self.notes.append(tuple(named(each) for each in what))

    def report(self, loop, context):
        """Take the place of the loop's exception handler."""
        # asyncio names its own methods there.
        message = re.sub(r"^(Exception in callback) .*", r"\1", context["message"], flags=re.DOTALL)
        self.reported.append((message, named(context.get("exception"))))

    def emit(self, record):
        # What follows the first line shows the objects.
        self.logged.append(record.getMessage().partition("\n")[0])

    def transcript(self):
        return {"notes": self.notes, "reported": self.reported, "logged": self.logged}


def named(value):
    """Name an error by its class: the messages of the network are the system's."""
    return type(value).__name__ if isinstance(value, BaseException) else value


def native_objects():
    """Count the objects of plait's loop that the collector knows of."""
    gc.collect()
    kinds = ("Handle", "TimerHandle", "Transport", "Loop", "Protocol")
    return collections.Counter(
        type(each).__name__
        for each in gc.get_objects()
        if type(each).__module__ == "plait._native" and type(each).__name__.endswith(kinds)
    )


def descriptors():
    """Return what each open descriptor is."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[int(number)] = os.readlink(f"/proc/self/fd/{number}")
        except FileNotFoundError:  # the one that lists the folder
            continue
    return found


class Leaks:
    """What is there at the end of the block and was not at its begin must be nothing."""

    def __enter__(self):
        self.objects = native_objects()
        self.descriptors = descriptors()
        self.threads = threading.active_count()
        return self

    def __exit__(self, kind, error, traceback):
        if kind is not None:
            return
        objects = native_objects() - self.objects
        assert not objects, f"left behind: {objects}"
        left = {n: what for n, what in descriptors().items() if self.descriptors.get(n) != what}
        assert not left, f"left open: {left}"


def play(factory, scenario, *args):
    """Run a scenario on a loop of its own and return its record."""
    record = Record()
    logger = logging.getLogger("asyncio")
    logger.addHandler(record)
    # pytest keeps what is logged, and with a traceback all that it led through.
    logger.propagate = False
    try:
        with Leaks(), asyncio.Runner(loop_factory=factory) as runner:
            loop = runner.get_loop()
            loop.set_exception_handler(record.report)
            runner.run(asyncio.wait_for(scenario(record, *args), PATIENCE))
            left = asyncio.all_tasks(loop)
            assert not left, left
    finally:
        logger.removeHandler(record)
        logger.propagate = True
    return record


def compare(scenario, *args, spared=()):
    """Play a scenario on both loops; return the transcript if it is the same.

    `spared` names errors that asyncio's loop reports of itself there, and plait's must not.
    """
    theirs = play(asyncio.SelectorEventLoop, scenario, *args).transcript()
    ours = play(plait.new_event_loop, scenario, *args).transcript()
    theirs["reported"] = [each for each in theirs["reported"] if each[1] not in spared]
    assert ours == theirs
    return ours


async def turns(count=10):
    """Let what is scheduled run."""
    for _ in range(count):
        await asyncio.sleep(0)


def reset(sock):
    """Close a connected TCP socket so that the peer gets a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def noting(record, base=asyncio.Protocol, hooks=None):
    """Return a class of protocols that note what they are told.

    `hooks` has functions by the name of the method that they run at the end of; each is given the
    protocol. An instance has `made` and `ended`, futures of the first and the last call.
    """
    hooks = hooks or {}

    class Noting(base):
        def __init__(self):
            loop = asyncio.get_running_loop()
            self.made, self.ended = loop.create_future(), loop.create_future()
            self.transport = None
            self.received = 0
            self.keep_open = False
            self.buffer = bytearray(1 << 16)

        def _told(self, method, *args):
            record.note(method, *args)
            if method in hooks:
                return hooks[method](self)
            return None

        def connection_made(self, transport):
            self.transport = transport
            self.made.set_result(transport)
            self._told("connection_made")

        def _data(self, method, count):
            first = not self.received
            self.received += count
            # How the bytes are cut is the kernel's business.
            if first:
                self._told(method)

        def eof_received(self):
            self._told("eof_received")
            return self.keep_open

        def pause_writing(self):
            self._told("pause_writing")

        def resume_writing(self):
            self._told("resume_writing")

        def connection_lost(self, error):
            self.ended.set_result(error)
            self._told("connection_lost", error)

    if issubclass(base, asyncio.BufferedProtocol):

        class NotingBuffered(Noting):
            asked = False

            def get_buffer(self, sizehint):
                # TLS asks again where a message had nothing for the application.
                first, self.asked = not self.asked, True
                if first:
                    self._told("get_buffer")
                return self.buffer

            def buffer_updated(self, count):
                self._data("buffer_updated", count)

        return NotingBuffered

    class NotingStream(Noting):
        def data_received(self, data):
            self._data("data_received", len(data))

    return NotingStream
