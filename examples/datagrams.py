"""Datagrams on plait's loop: a server that answers, and what a client hears when there is none.

The kernel reports a refused datagram (ICMP) to a connected socket alone, later: the protocol gets
it in `error_received`, and the transport goes on.
"""

import asyncio

import plait


class Upper(asyncio.DatagramProtocol):
    """The server: sends each datagram back in capitals."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.DatagramTransport)
        self.transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer to where the datagram came from."""
        self.transport.sendto(data.upper(), addr)


class Client(asyncio.DatagramProtocol):
    """Puts what happens into a queue."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[bytes | OSError] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Take an answer."""
        self.heard.put_nowait(data)

    def error_received(self, exc: Exception) -> None:
        """Take a report of the network's."""
        assert isinstance(exc, OSError)
        self.heard.put_nowait(exc)


async def main() -> None:
    """Ask a server, then ask where there is none any more."""
    loop = asyncio.get_running_loop()
    server, _ = await loop.create_datagram_endpoint(Upper, local_addr=("127.0.0.1", 0))
    address = server.get_extra_info("sockname")
    # With `remote_addr` the socket is connected: no address in `sendto`, and
    # datagrams of others are not heard.
    transport, client = await loop.create_datagram_endpoint(Client, remote_addr=address)
    try:
        transport.sendto(b"hello")
        async with asyncio.timeout(10):
            print(await client.heard.get())

            server.abort()
            await asyncio.sleep(0)  # the socket is closed in the next turn
            transport.sendto(b"anybody there?")
            print(repr(await client.heard.get()))
    finally:
        transport.close()


if __name__ == "__main__":
    plait.run(main())
