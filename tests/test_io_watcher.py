"""Watchers of one descriptor beside each other; numbers that are closed and used again."""

import asyncio
import contextlib
import gc
import selectors
import socket
import weakref

import pytest

import plait

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


@pytest.fixture
def loop():
    loop = plait.new_event_loop()
    yield loop
    loop.close()


def socket_pair():
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.setblocking(False)
    return ours, theirs


def now(loop):
    """Turn without waiting."""
    return loop.turn(0)


def reuse(number):
    """Return a pair of new sockets, the first of which has the number of one just closed."""
    held = []
    while True:
        ours, theirs = socket_pair()
        if number in (ours.fileno(), theirs.fileno()):
            for sock in held:
                sock.close()
            return (ours, theirs) if ours.fileno() == number else (theirs, ours)
        assert ours.fileno() < number, "somebody else has the number"
        held += [ours, theirs]


# -- one --------------------------------------------------------------------


def test_a_watcher_calls_back_until_it_is_stopped(loop, pair):
    ours, theirs = pair
    heard = []
    watcher = loop.io_watcher(ours, READ)
    assert (watcher.fd, watcher.events, watcher.loop) == (ours.fileno(), READ, loop)
    theirs.send(b"x")
    now(loop)
    assert not watcher.active
    watcher.start(heard.append, "read")
    assert watcher.active
    now(loop)
    now(loop)
    assert heard == ["read", "read"]
    watcher.stop()
    assert not watcher.active
    now(loop)
    assert heard == ["read", "read"]
    watcher.stop()
    watcher.start(heard.append, "again")
    now(loop)
    assert heard == ["read", "read", "again"]
    watcher.stop()


@pytest.mark.parametrize("events", [READ, WRITE, READ | WRITE])
def test_a_watcher_can_be_told_what_happened(loop, pair, events):
    ours, theirs = pair
    heard = []
    watcher = loop.io_watcher(ours, events)
    watcher.start(lambda *args: heard.append(args), "more", pass_events=True)
    now(loop)
    theirs.send(b"x")
    now(loop)
    theirs.close()
    now(loop)
    watcher.stop()
    writable = [(events & WRITE, "more")] if events & WRITE else []
    assert heard == [*writable, (events, "more"), (events, "more")]


def test_starting_a_started_watcher_changes_what_is_called(loop, pair):
    ours, theirs = pair
    heard = []
    watcher = loop.io_watcher(ours, READ)
    watcher.start(heard.append, 1)
    watcher.start(heard.append, 2)
    theirs.send(b"x")
    now(loop)
    assert heard == [2]
    watcher.stop()
    assert not loop.is_alive()


@pytest.mark.parametrize("events", [0, 4, 7])
def test_other_events_are_refused(loop, pair, events):
    with pytest.raises(ValueError, match="EVENT_READ"):
        loop.io_watcher(pair[0], events)


def test_what_cannot_be_watched_is_refused(loop, pair):
    with pytest.raises(ValueError, match="Invalid file descriptor: -1"):
        loop.io_watcher(-1, READ)
    with pytest.raises(TypeError, match="must be callable"):
        loop.io_watcher(pair[0], READ).start(None)
    closed = socket.socket()
    watcher = loop.io_watcher(closed, READ)
    closed.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        watcher.start(print)
    with open(__file__) as file, pytest.raises(PermissionError):
        loop.io_watcher(file, READ).start(print)
    assert not watcher.active
    assert not loop.is_alive()
    now(loop)


def test_an_exception_is_reported_and_the_watcher_goes_on(loop, pair):
    ours, theirs = pair
    reports = []
    loop.set_exception_handler(lambda loop, context: reports.append(context))

    def fail():
        raise ValueError("no")

    watcher = loop.io_watcher(ours, READ)
    watcher.start(fail)
    theirs.send(b"x")
    now(loop)
    now(loop)
    watcher.stop()
    assert [str(report["exception"]) for report in reports] == ["no", "no"]
    assert "Exception in callback" in reports[0]["message"]


def test_watchers_and_liveness(loop, pair):
    ours, theirs = pair
    strong = loop.io_watcher(ours, READ)
    weak = loop.io_watcher(ours, READ, ref=False)
    assert (strong.ref, weak.ref) == (True, False)
    weak.start(print)
    assert not loop.is_alive()
    strong.start(print)
    assert loop.is_alive()
    strong.ref = False
    assert not loop.is_alive()
    loop.add_reader(theirs, print)
    assert loop.is_alive()
    loop.remove_reader(theirs)
    weak.ref = True
    assert loop.is_alive()
    weak.stop()
    assert not loop.is_alive()
    strong.stop()


def test_a_started_watcher_lives_and_a_stopped_one_does_not(loop, pair):
    ours, theirs = pair
    heard = []
    loop.io_watcher(ours, READ).start(heard.append, 1)
    gc.collect()
    theirs.send(b"x")
    now(loop)
    assert heard == [1]

    class Callback:
        def __call__(self):
            self.watcher.stop()

    callback = Callback()
    callback.watcher = loop.io_watcher(ours, WRITE)
    callback.watcher.start(callback)
    gone = weakref.ref(callback)
    del callback
    now(loop)
    gc.collect()
    assert gone() is None


def test_closing_the_loop_stops_its_watchers(pair):
    loop = plait.new_event_loop()
    watcher = loop.io_watcher(pair[0], READ)
    watcher.start(print)
    loop.close()
    assert not watcher.active
    watcher.stop()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        watcher.start(print)
    assert not watcher.active


# -- several ----------------------------------------------------------------


def test_watchers_of_one_descriptor_are_independent(loop, pair):
    ours, theirs = pair
    heard = []
    watchers = [loop.io_watcher(ours, READ) for _ in range(3)]
    for number, watcher in enumerate(watchers):
        watcher.start(heard.append, number)
    writer = loop.io_watcher(ours, WRITE)
    writer.start(heard.append, "write")
    loop.add_reader(ours, heard.append, "reader")
    theirs.send(b"x")
    now(loop)
    assert sorted(heard, key=str) == [0, 1, 2, "reader", "write"]
    heard.clear()
    watchers[1].stop()
    loop.remove_reader(ours)
    now(loop)
    assert sorted(heard, key=str) == [0, 2, "write"]
    heard.clear()
    watchers[0].stop()
    watchers[2].stop()
    now(loop)
    assert heard == ["write"]
    writer.stop()
    heard.clear()
    loop.add_writer(ours, heard.append, "writer")
    now(loop)
    assert heard == ["writer"]
    loop.remove_writer(ours)
    assert not loop.is_alive()


def test_a_watcher_stopped_by_another_in_the_same_turn_is_not_called(loop, pair):
    ours, theirs = pair
    heard = []
    watchers = [loop.io_watcher(ours, READ) for _ in range(2)]

    def callback(mine, other):
        heard.append(mine)
        assert watchers[other].pending
        watchers[other].stop()
        assert not watchers[other].pending

    watchers[0].start(callback, 0, 1)
    watchers[1].start(callback, 1, 0)
    theirs.send(b"x")
    now(loop)
    assert heard == [0]
    heard.clear()
    # Nor by an event of before, if it is started again at once.
    watchers[0].stop()
    watchers[1].start(heard.append, "old")

    def restart():
        watchers[1].stop()
        watchers[1].start(heard.append, "new")

    watchers[0].start(restart)
    watchers[1].stop()
    watchers[1].start(heard.append, "old")
    now(loop)
    assert heard == []
    watchers[0].stop()
    now(loop)
    assert heard == ["new"]
    watchers[1].stop()


def test_a_watcher_beside_a_socket_call_that_waits(loop, pair):
    ours, theirs = pair
    heard = []
    watcher = loop.io_watcher(ours, READ)
    watcher.start(heard.append, "watcher")
    task = loop.create_task(loop.sock_recv(ours, 1))
    now(loop)
    theirs.send(b"xy")
    now(loop)
    now(loop)
    assert task.result() == b"x"
    assert "watcher" in heard
    heard.clear()
    now(loop)
    assert heard == ["watcher"]
    watcher.stop()
    # And the other way round: what is left is asked for once.
    task = loop.create_task(loop.sock_recv(ours, 1))
    while not task.done():
        now(loop)
    task = loop.create_task(loop.sock_recv(ours, 1))
    watcher.start(heard.append, "watcher")
    now(loop)
    watcher.stop()
    theirs.send(b"z")
    loop.run_until_complete(asyncio.wait_for(task, 30))
    assert task.result() == b"z"


def test_the_descriptor_of_a_transport_is_its_own(loop, pair):
    ours, _ = pair
    heard = []
    watcher = loop.io_watcher(ours, WRITE)
    watcher.start(heard.append, 1)
    transport, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=ours))
    heard.clear()
    assert not watcher.active
    assert not heard
    with pytest.raises(RuntimeError, match="is used by transport"):
        watcher.start(print)
    transport.close()
    now(loop)
    now(loop)


# -- numbers used again -----------------------------------------------------

LISTEN = {
    "reader": lambda loop, sock, call: loop.add_reader(sock, call),
    "watcher": lambda loop, sock, call: loop.io_watcher(sock, READ).start(call),
}


@pytest.fixture(params=LISTEN)
def listen(request):
    return LISTEN[request.param]


@pytest.mark.parametrize("duplicate", [False, True])
def test_a_number_used_again_does_not_wake_who_listened_before(loop, listen, duplicate):
    """Closed without a word to the loop, as careless programs do."""
    heard = []
    ours, theirs = socket_pair()
    listen(loop, ours, lambda: heard.append("old"))
    # It also had a writer, of which nobody thinks any more.
    loop.add_writer(ours, heard.append, "old writer")
    copy = ours.dup() if duplicate else None
    number = ours.fileno()
    ours.close()
    ours, other = reuse(number)
    heard.clear()
    loop.io_watcher(ours, READ).start(heard.append, "new")
    now(loop)
    theirs.close()
    now(loop)
    now(loop)
    assert heard == [], "the new socket has nothing to read"
    other.send(b"x")
    now(loop)
    assert heard == ["new"]
    for sock in filter(None, (copy, ours, other)):
        sock.close()


def test_a_closed_number_whose_duplicate_lives_does_not_spin(loop, listen):
    """The kernel goes on to tell of it, and nobody can name it any more."""
    heard = []
    ours, theirs = socket_pair()
    listen(loop, ours, lambda: heard.append("old"))
    with ours.dup(), theirs:
        number = ours.fileno()
        ours.close()
        loop.remove_reader(number)
        ours, other = reuse(number)
        with ours, other:
            loop.add_reader(ours, heard.append, "new")
            now(loop)
            theirs.send(b"x")
            now(loop)
            # What was found is thrown out: nothing is ready any more.
            with selectors.DefaultSelector() as selector:
                selector.register(loop.fileno(), READ)
                assert not selector.select(0)
                other.send(b"x")
                assert selector.select(30)
            now(loop)
            assert heard == ["new"]
            loop.remove_reader(ours)


def test_a_number_closed_in_the_same_turn(loop, listen):
    """Both are ready at once; the first closes the other and has its number used again."""
    heard = []
    pairs = [socket_pair(), socket_pair()]
    fresh = []

    def close(mine):
        heard.append("first")
        (first, _), (second, _) = pairs[mine], pairs[1 - mine]
        loop.remove_reader(first)
        number = second.fileno()
        loop.remove_reader(second)
        for watcher in watchers:
            watcher.stop()
        second.close()
        fresh.extend(reuse(number))
        listen(loop, fresh[0], lambda: heard.append("new"))

    watchers = []
    for index, (ours, theirs) in enumerate(pairs):
        watchers.append(loop.io_watcher(ours, READ))
        watchers[-1].start(close, index)
        theirs.send(b"x")
    now(loop)
    now(loop)
    assert heard == ["first"]
    fresh[1].send(b"x")
    now(loop)
    assert heard == ["first", "new"]
    loop.close()
    for sock in [*fresh, *(sock for both in pairs for sock in both)]:
        sock.close()


def test_a_transport_on_a_number_used_again(loop, listen):
    heard = []
    ours, theirs = socket_pair()
    listen(loop, ours, lambda: heard.append("old"))
    with ours.dup(), theirs:
        number = ours.fileno()
        ours.close()
        ours, other = reuse(number)
        with other:
            reader = asyncio.StreamReader(loop=loop)
            protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
            transport, _ = loop.run_until_complete(
                loop.create_connection(lambda: protocol, sock=ours)
            )
            theirs.send(b"x")
            now(loop)
            now(loop)
            other.send(b"hello\n")
            assert loop.run_until_complete(reader.readline()) == b"hello\n"
            assert heard == []
            transport.close()
            now(loop)
            now(loop)


def test_a_socket_call_on_a_number_used_again(loop):
    ours, theirs = socket_pair()
    old = loop.create_task(loop.sock_recv(ours, 1))
    now(loop)
    with ours.dup(), theirs:
        number = ours.fileno()
        ours.close()
        ours, other = reuse(number)
        with ours, other:
            new = loop.create_task(loop.sock_recv(ours, 1))
            now(loop)
            theirs.send(b"o")
            now(loop)
            now(loop)
            assert not new.done()
            other.send(b"n")
            assert loop.run_until_complete(asyncio.wait_for(new, 30)) == b"n"
            assert not old.done()
            old.cancel()
            with pytest.raises(asyncio.CancelledError):
                loop.run_until_complete(old)


def test_others_are_kept_when_a_stray_is_thrown_out(loop):
    """All that is watched rightly is watched on after it."""
    heard = []
    pairs = [socket_pair() for _ in range(20)]
    for index, (ours, _) in enumerate(pairs):
        loop.add_reader(ours, heard.append, index)
    task = loop.create_task(loop.sock_recv(pairs[5][1], 1))
    now(loop)
    stray, theirs = socket_pair()
    loop.add_reader(stray, heard.append, "stray")
    copy = stray.dup()
    number = stray.fileno()
    stray.close()
    loop.remove_reader(number)
    theirs.send(b"x")
    now(loop)
    assert heard == []
    for _, theirs_ in pairs:
        theirs_.send(b"x")
    now(loop)
    assert sorted(heard) == list(range(20))
    pairs[5][0].send(b"y")
    assert loop.run_until_complete(asyncio.wait_for(task, 30)) == b"y"
    timer = loop.call_soon_threadsafe(heard.append, "bell")
    now(loop)
    assert "bell" in heard
    del timer
    loop.close()
    for sock in [copy, theirs, *(sock for both in pairs for sock in both)]:
        sock.close()


def test_random_use_of_few_numbers(loop):
    """Sockets, duplicates and listeners come and go; whoever hears, hears of its own socket."""
    import random

    rng = random.Random(20261121)
    live = {}  # number -> (socket, peer, mark)
    copies = []
    wrong = []
    heard = set()

    class Mark:
        pass

    def callback(mark):
        heard.add(mark)

    for step in range(3000):
        action = rng.random()
        if action < 0.35 or not live:
            ours, theirs = socket_pair()
            mark = Mark()
            live[ours.fileno()] = (ours, theirs, mark)
            if rng.random() < 0.8:
                rng.choice(list(LISTEN.values()))(loop, ours, lambda mark=mark: callback(mark))
                mark.listens = True
            else:
                mark.listens = False
        elif action < 0.65:
            number = rng.choice(list(live))
            ours, theirs, mark = live.pop(number)
            if rng.random() < 0.5:
                copies.append(ours.dup())
            if rng.random() < 0.5:
                loop.remove_reader(number)
                mark.removed = True
            ours.close()
            copies.append(theirs)
            if rng.random() < 0.5:
                with contextlib.suppress(OSError):
                    theirs.send(b"late")
        else:
            number = rng.choice(list(live))
            ours, theirs, mark = live[number]
            theirs.send(b"x")
            heard.clear()
            now(loop)
            if mark.listens and mark not in heard:
                wrong.append((step, "not heard"))
            ours.recv(100)
        if len(copies) > 40:
            rng.shuffle(copies)
            while len(copies) > 20:
                copies.pop().close()
        heard.clear()
        now(loop)
        for number, (_, _, mark) in live.items():
            if mark in heard:
                wrong.append((step, number, "heard of nothing"))
        assert not wrong
    loop.close()
    for ours, theirs, _ in live.values():
        ours.close()
        theirs.close()
    for sock in copies:
        sock.close()
