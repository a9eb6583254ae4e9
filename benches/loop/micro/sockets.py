"""Sockets inside one loop: both ends in the same process."""

import asyncio
import socket

from loop.micro.watch import Watch

MESSAGE = bytes(1024)


async def sock_calls(count: int, watch: Watch) -> None:
    """Send a message to a task and get it back, by `sock_sendall` and `sock_recv`."""
    loop = asyncio.get_running_loop()
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        far.setblocking(False)

        async def pong() -> None:
            while data := await loop.sock_recv(far, 65536):
                await loop.sock_sendall(far, data)

        task = asyncio.create_task(pong())
        await asyncio.sleep(0)
        with watch.running():
            for _ in range(count):
                await loop.sock_sendall(near, MESSAGE)
                data = await loop.sock_recv(near, 65536)
                assert len(data) == len(MESSAGE)
        near.shutdown(socket.SHUT_WR)
        await task


async def streams(count: int, watch: Watch) -> None:
    """Send a message to a server in the same loop and get it back, over streams."""

    async def pong(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(pong, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    with watch.running():
        for _ in range(count):
            writer.write(MESSAGE)
            await writer.drain()
            await reader.readexactly(len(MESSAGE))
    writer.close()
    await writer.wait_closed()
    server.close()


class Closing(asyncio.Protocol):
    """Tell when the connection is gone."""

    def __init__(self) -> None:
        self.lost = asyncio.get_running_loop().create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell it."""
        self.lost.set_result(None)


async def connect(count: int, watch: Watch) -> None:
    """Connect to a server in the same loop and close, one after another."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    with watch.running():
        for _ in range(count):
            transport, protocol = await loop.create_connection(Closing, host, port)
            transport.close()
            await protocol.lost
    server.close()


async def addresses(count: int, watch: Watch) -> None:
    """Look up an address that is a number already."""
    loop = asyncio.get_running_loop()
    await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    with watch.running():
        for _ in range(count):
            await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
