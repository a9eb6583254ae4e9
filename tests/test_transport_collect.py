"""The collector and transports that are just being made.

In Python 3.11 any allocation may set it off, also one that is part of making an object, whose
fields are zero by then. What goes wrong is a crash of an optimised build; a debug build looks
whether a pointer is null, and gets by.
"""

import subprocess
import sys

SCRIPT = """
import asyncio, gc, os, socket
import plait

async def main():
    loop = asyncio.get_running_loop()
    protocol, listener = asyncio.Protocol, asyncio.DatagramProtocol
    made = 0
    # More than the interpreter keeps for reuse: each new dictionary is then an allocation.
    kept = [{} for _ in range(1000)]
    for threshold in range(1, 40):
        gc.set_threshold(threshold)
        transports = []
        for _ in range(20):
            kept.append({})
            ours, theirs = socket.socketpair()
            reading, writing = (open(fd, mode, 0) for fd, mode in zip(os.pipe(), ("rb", "wb")))
            datagrams = socket.socketpair(type=socket.SOCK_DGRAM)
            transports += [
                (await loop.connect_accepted_socket(protocol, ours))[0],
                (await loop.create_datagram_endpoint(listener, sock=datagrams[0]))[0],
                (await loop.connect_read_pipe(protocol, reading))[0],
                (await loop.connect_write_pipe(asyncio.BaseProtocol, writing))[0],
            ]
            theirs.close()
            datagrams[1].close()
        made += len(transports)
        for transport in transports:
            transport.close()
    print(made)

plait.run(main())
"""


def test_it_may_come_while_a_transport_is_made():
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=100
    )
    assert (ended.stdout, ended.stderr, ended.returncode) == ("3120\n", "", 0)
