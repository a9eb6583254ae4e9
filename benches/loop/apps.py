"""The servers: the same code whatever the loop.

Each function starts serving on a free port of 127.0.0.1 inside the running loop, and returns the
port.
"""

import asyncio
import importlib
import ssl
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

# What a read of a stream asks for: more than any message.
READ = 1 << 17


class Echo(asyncio.Protocol):
    """Send back what comes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Answer at once."""
        self.transport.write(data)


class BufferedEcho(asyncio.BufferedProtocol):
    """Send back what comes into a buffer of its own."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.Transport, transport)
        self.buffer = bytearray(64 * 1024)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Give the buffer."""
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Answer at once."""
        self.transport.write(self.buffer[:nbytes])


class DatagramEcho(asyncio.DatagramProtocol):
    """Send every datagram back."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Answer at once."""
        self.transport.sendto(data, addr)


def port_of(server: asyncio.Server) -> int:
    """Return where a server listens."""
    port: int = server.sockets[0].getsockname()[1]
    return port


# Servers end when nothing holds them.
_held: list[object] = []


async def protocol(certificate: str, key: str) -> int:
    """Echo under a `Protocol`."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
    _held.append(server)
    return port_of(server)


async def buffered(certificate: str, key: str) -> int:
    """Echo under a `BufferedProtocol`."""
    server = await asyncio.get_running_loop().create_server(BufferedEcho, "127.0.0.1", 0)
    _held.append(server)
    return port_of(server)


async def streams(certificate: str, key: str) -> int:
    """Echo over streams."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(READ):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    _held.append(server)
    return port_of(server)


async def tls(certificate: str, key: str) -> int:
    """Echo under a `Protocol`, encrypted."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, ssl=context)
    _held.append(server)
    return port_of(server)


async def datagram(certificate: str, key: str) -> int:
    """Echo datagrams."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(DatagramEcho, local_addr=("127.0.0.1", 0))
    _held.append(transport)
    port: int = transport.get_extra_info("sockname")[1]
    return port


async def uvicorn(certificate: str, key: str) -> int:
    """Greet, by uvicorn and httptools."""
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"13")]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"Hello, world!"})

    library = importlib.import_module("uvicorn")
    # It listens by itself: on a socket of ours asyncio would leave Nagle's algorithm on.
    options = {"host": "127.0.0.1", "port": 0, "http": "httptools", "lifespan": "off"}
    config = library.Config(app, access_log=False, log_level="warning", **options)
    server = library.Server(config)
    serving = asyncio.ensure_future(server.serve())
    _held.append(serving)
    while not server.started:
        await asyncio.sleep(0.01)
        if serving.done():
            await serving
            raise RuntimeError("uvicorn has ended without a word")
    return port_of(server.servers[0])


async def aiohttp(certificate: str, key: str) -> int:
    """Greet, by aiohttp's server."""
    web = importlib.import_module("aiohttp.web")

    async def hello(request: Any) -> Any:
        return web.Response(text="Hello, world!")

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    _held.append(runner)
    port: int = runner.addresses[0][1]
    return port


APPS: Mapping[str, Callable[[str, str], Awaitable[int]]] = {
    "protocol": protocol,
    "buffered": buffered,
    "streams": streams,
    "tls": tls,
    "datagram": datagram,
    "uvicorn": uvicorn,
    "aiohttp": aiohttp,
}
