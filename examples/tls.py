"""TLS in both directions: a server that asks for a certificate, and a connection that turns to TLS.

What is allowed is said in an `ssl.SSLContext`, as everywhere in Python: plait's loop uses the one
that it is given. The certificate here is made by the `openssl` program, and serves both ends.
"""

import asyncio
import ssl
import subprocess
import tempfile

import plait


def make_certificate(folder: str) -> tuple[str, str]:
    """Return the files of a certificate for localhost, signed by itself, and of its key."""
    certificate, key = f"{folder}/certificate.pem", f"{folder}/key.pem"
    request = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1"
    subject = "-subj /CN=localhost -addext subjectAltName=DNS:localhost"
    files = ["-out", certificate, "-keyout", key]
    subprocess.run([*request.split(), *subject.split(), *files], check=True, capture_output=True)
    return certificate, key


def contexts(certificate: str, key: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the settings of the server and of the client."""
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificate)
    client = ssl.create_default_context(cafile=certificate)
    server.verify_mode = ssl.CERT_REQUIRED
    for context in (server, client):
        context.load_cert_chain(certificate, key)
        context.set_alpn_protocols(["greeting/1"])
    return server, client


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say who is there: the name in the client's certificate."""
    certificate = writer.get_extra_info("peercert")
    names = dict(entry for part in certificate["subject"] for entry in part)
    await reader.readline()
    protocol = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    writer.write(f"hello {names['commonName']}, by {protocol}\n".encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """Ask over a connection that has TLS already."""
    writer.write(b"hello\n")
    answer = await reader.readline()
    version = writer.get_extra_info("ssl_object").version()
    writer.close()
    await writer.wait_closed()
    return f"{answer.decode().strip()}, {version}"


async def main(certificate: str, key: str) -> None:
    """Connect with TLS from the start, and once more with TLS after some words without."""
    for_server, for_client = contexts(certificate, key)

    async with await asyncio.start_server(greet, "127.0.0.1", 0, ssl=for_server) as server:
        port = server.sockets[0].getsockname()[1]
        streams = await asyncio.open_connection(
            "127.0.0.1", port, ssl=for_client, server_hostname="localhost"
        )
        print(await talk(*streams))

    async def turn_to_tls(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readline() == b"STARTTLS\n"
        writer.write(b"go ahead\n")
        await writer.drain()
        await writer.start_tls(for_server)
        await greet(reader, writer)

    async with await asyncio.start_server(turn_to_tls, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"STARTTLS\n")
        print((await reader.readline()).decode().strip())
        await writer.start_tls(for_client, server_hostname="localhost")
        print(await talk(reader, writer))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        plait.run(main(*make_certificate(folder)))
