"""A loop whose `fileno()` an outer epoll watches: that hears of it whatever becomes of the inside.

The loop makes a new epoll when the old one watches what nobody can name any more, and after a fork.
"""

import os
import select
import socket

import plait

PATIENCE = 30.0


def embedded():
    loop = plait.new_event_loop()
    outside = select.epoll()
    outside.register(loop.fileno(), select.EPOLLIN)
    return loop, outside


def heard(loop, outside, cause):
    """Whether `outside` hears of what `cause` brings about, and is quiet before and after."""
    while loop.turn(0) and outside.poll(0):
        pass
    loop.backend_timeout()
    assert outside.poll(0) == []
    cause()
    before = outside.poll(PATIENCE)
    assert before == [(loop.fileno(), select.EPOLLIN)]
    loop.turn(0)
    loop.backend_timeout()
    return outside.poll(0) == []


def test_a_new_epoll_inside():
    loop, outside = embedded()
    number = loop.fileno()
    got = []
    ours, peer = socket.socketpair()
    other, others_peer = socket.socketpair()
    loop.add_reader(ours.fileno(), got.append, "ours")
    watched = ours.fileno()
    kept = os.dup(watched)
    # The kernel watches on what it was, and the table knows another.
    os.dup2(other.fileno(), watched)
    loop.add_reader(watched, lambda: got.append(os.read(watched, 100)))
    peer.send(b"a stray")
    for _ in range(3):
        loop.turn(0)
    assert got == []
    assert heard(loop, outside, lambda: others_peer.send(b"one"))
    assert got == [b"one"]
    assert heard(loop, outside, lambda: loop.call_soon_threadsafe(got.append, "two"))
    assert got == [b"one", "two"]
    assert loop.fileno() == number
    loop.remove_reader(watched)
    os.close(kept)
    for each in (ours, peer, other, others_peer, outside, loop):
        each.close()


def test_after_reinit():
    loop, outside = embedded()
    loop.reinit()
    got = []
    assert heard(loop, outside, lambda: loop.call_soon_threadsafe(got.append, "one"))
    assert got == ["one"]
    outside.close()
    loop.close()


def test_a_forked_process_leaves_it_alone():
    loop, outside = embedded()
    got = []
    pid = os.fork()
    if not pid:
        status = 1
        try:
            loop.reinit()
            theirs = select.epoll()
            theirs.register(loop.fileno(), select.EPOLLIN)
            assert heard(loop, theirs, lambda: loop.call_soon_threadsafe(got.append, "theirs"))
            assert outside.poll(0) == []
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert status == 0
    assert heard(loop, outside, lambda: loop.call_soon_threadsafe(got.append, "ours"))
    assert got == ["ours"]
    outside.close()
    loop.close()
