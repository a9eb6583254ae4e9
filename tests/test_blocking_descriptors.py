"""Descriptors that block although the loop wants none that does: nobody else waits for them.

The mode belongs to what is open, so whoever shares it, as a child process does, can change it.
"""

import asyncio
import os
import socket
import threading
import time

import plait

PATIENCE = 30.0
# The state of a TCP socket whose peer has not answered yet.
SYN_SENT = 2


def test_a_pipe_that_was_made_to_block(run):
    """The thread that empties the pipe has to get the interpreter."""
    size = 10**6

    async def main():
        loop = asyncio.get_running_loop()
        reader, writer = os.pipe()
        received = bytearray()

        def empty():
            while data := os.read(reader, 1 << 16):
                received.extend(data)

        transport, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(writer, "wb", 0))
        os.set_blocking(writer, True)
        thread = threading.Thread(target=empty)
        thread.start()
        transport.write(bytes(size))
        transport.write(b"end")
        transport.close()
        await loop.run_in_executor(None, thread.join, PATIENCE)
        os.close(reader)
        assert len(received) == size + 3
        assert received.endswith(b"end")

    run(main())


def test_a_pipe_to_read_that_was_made_to_block(run):
    async def main():
        loop = asyncio.get_running_loop()
        reader, writer = os.pipe()
        stream = asyncio.StreamReader()
        await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream),
            os.fdopen(reader, "rb", 0),
        )
        os.set_blocking(reader, True)
        os.write(writer, b"one")
        assert await stream.read(100) == b"one"
        os.write(writer, b"two")
        os.close(writer)
        assert await stream.read() == b"two"

    run(main())


def test_a_socket_that_blocks_is_connected_without_the_lock(run):
    """A full queue of connections has the call wait until a thread accepts one."""

    async def main():
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            address = listener.getsockname()
            waiting = [socket.create_connection(address)]
            sock = socket.socket()
            accepted = []

            def accept():
                # Gone on with while the call waits: nobody would accept otherwise.
                while sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != SYN_SENT:
                    time.sleep(0.001)
                accepted.extend(listener.accept()[0] for _ in range(2))

            thread = threading.Thread(target=accept)
            thread.start()
            await asyncio.get_running_loop().sock_connect(sock, address)
            assert sock.getpeername() == address
            thread.join(PATIENCE)
            for each in (*waiting, *accepted, sock):
                each.close()

    run(main())


def test_a_listener_that_was_made_to_block():
    # asyncio accepts until there is none left, which blocks.
    async def main():
        connected = asyncio.Queue()
        server = await asyncio.start_server(
            lambda _, writer: connected.put_nowait(writer), "127.0.0.1", 0
        )
        listener = server.sockets[0]
        os.set_blocking(listener.fileno(), True)
        for _ in range(3):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            theirs = await connected.get()
            for each in (writer, theirs):
                each.close()
                await each.wait_closed()
        server.close()
        await server.wait_closed()

    plait.run(asyncio.wait_for(main(), PATIENCE))
