"""The main job of a loop, on real software: aiohttp's client and server."""

import asyncio
import hashlib
import io

import aiohttp
import aiohttp.web
import pytest

import plait

REQUESTS = 200
SIZE = 100_000


def body(number):
    return hashlib.shake_128(b"%d" % number).digest(SIZE)


async def serve():
    async def page(request):
        return aiohttp.web.Response(body=body(int(request.match_info["number"])))

    async def swallow(request):
        return aiohttp.web.Response(text=hashlib.sha256(await request.read()).hexdigest())

    async def stream(request):
        response = aiohttp.web.StreamResponse()
        await response.prepare(request)
        for number in range(10):
            await response.write(body(number))
        return response

    async def file(request):
        return aiohttp.web.FileResponse(__file__)

    async def websocket(request):
        ws = aiohttp.web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            await ws.send_bytes(message.data[::-1])
        return ws

    app = aiohttp.web.Application(client_max_size=1 << 24)
    app.router.add_get("/page/{number}", page)
    app.router.add_post("/swallow", swallow)
    app.router.add_get("/stream", stream)
    app.router.add_get("/ws", websocket)
    app.router.add_get("/file", file)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    return runner, f"http://127.0.0.1:{port}"


def with_session(test):
    """Run ``test(session, url)`` against a server, all on one plait loop."""

    async def main():
        runner, url = await serve()
        connector = aiohttp.TCPConnector(limit=0)
        try:
            async with aiohttp.ClientSession(connector=connector) as session:
                await test(session, url)
        finally:
            await runner.cleanup()

    plait.run(main())


def test_two_hundred_requests_at_once():
    async def check(session, url):
        async def fetch(number):
            async with session.get(f"{url}/page/{number}") as response:
                assert response.status == 200
                assert await response.read() == body(number)

        await asyncio.gather(*[fetch(number) for number in range(REQUESTS)])

    with_session(check)


def test_uploads_streams_files_and_websockets():
    async def check(session, url):
        data = body(1) * 50
        async with session.post(f"{url}/swallow", data=io.BytesIO(data)) as response:
            assert await response.text() == hashlib.sha256(data).hexdigest()
        async with session.get(f"{url}/stream") as response:
            assert await response.read() == b"".join(body(number) for number in range(10))
        async with session.get(f"{url}/file") as response:
            assert "aiohttp" in await response.text()
        async with session.ws_connect(f"{url}/ws") as ws:
            for number in range(20):
                await ws.send_bytes(body(number))
                message = await ws.receive()
                assert message.data == body(number)[::-1]

    with_session(check)


def test_a_client_that_times_out():
    async def check(session, url):
        async def silent(reader, writer):
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        timeout = aiohttp.ClientTimeout(total=0.05)
        with pytest.raises(asyncio.TimeoutError):
            await session.get(f"http://127.0.0.1:{port}/", timeout=timeout)
        server.close()
        await server.wait_closed()

    with_session(check)
