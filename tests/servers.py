"""Loopback servers for tests: the well-behaved, and the ones that a scraper meets."""

import gzip
import io
import json
import socketserver
import struct
import threading
import zlib
from collections import Counter
from contextlib import contextmanager
from urllib.parse import parse_qs, quote, urlsplit

import numpy as np
from PIL import Image


def jpeg(seed: int, size: int = 64) -> bytes:
    """A small picture of noise, a different one per seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (size // 8, size // 8, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((size, size)).save(buffer, "JPEG")
    return buffer.getvalue()


def http(body: bytes, status: int = 200, **headers) -> bytes:
    """A whole answer; `Content_Type="x"` becomes the header Content-Type."""
    fields = {"Content-Type": "image/jpeg", "Content-Length": str(len(body)), "Connection": "close"}
    fields |= {name.replace("_", "-"): str(value) for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} x\r\n{head}\r\n".encode() + body


def jsonic(content) -> bytes:
    return http(json.dumps(content).encode(), Content_Type="application/json")


@contextmanager
def serve(answer):
    """Serve on the loopback address; yields the server, with `.host`, `.address` and `.asked` (how often per path).

    `answer(path, query, server)` returns the bytes to send, or sends them itself: then it takes a fourth argument, the
    socket. The server's `.closing` is set when the test ends.
    """

    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            line = self.rfile.readline().decode()
            self.server.heads.append(line + "".join(iter(lambda: self.rfile.readline().decode().strip(), "")))
            url = urlsplit(line.split()[1])
            query = {name: values[0] for name, values in parse_qs(url.query).items()}
            with self.server.lock:
                self.server.asked[url.path] += 1
            if content := answer(url.path, query, self.server, self.request):
                self.request.sendall(content)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads, allow_reuse_address, request_queue_size = True, True, 256

        def handle_error(self, *_):
            pass  # clients that hang up are the point

    with Server(("127.0.0.1", 0), Handler) as server:
        server.host = f"127.0.0.1:{server.server_address[1]}"
        server.address = f"http://{server.host}"
        server.asked, server.heads, server.lock, server.closing = Counter(), [], threading.Lock(), threading.Event()
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()


def _drip(head: bytes):
    def answer(server, socket):
        socket.sendall(head)
        while not server.closing.wait(1):
            socket.sendall(b"x")

    return answer


def _endless(server, socket):
    socket.sendall(b"HTTP/1.1 200 x\r\nContent-Type: image/jpeg\r\n\r\n" + jpeg(0))
    while not server.closing.is_set():
        socket.sendall(b"x" * 65536)


def _silent(server, socket):
    server.closing.wait()


def _wide_png() -> bytes:
    """The header of 50,000 x 50,000 pixels, and a little of them."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(bytes(10**6)))
        + chunk(b"IEND", b"")
    )


def _large(colour: str):
    """Just below the limit of pixels: 100 MB when it is decoded."""

    def answer(server, socket):
        buffer = io.BytesIO()
        Image.new("RGBA", (5000, 4990), colour).save(buffer, "PNG", compress_level=1)
        socket.sendall(http(buffer.getvalue()))

    return answer


def redirect(target: str) -> bytes:
    """A whole answer that sends the client elsewhere."""
    return http(b"", 302, Location=target)


# path: what the server sends, and what `rejected.csv` says of it ("" if the picture has to be saved)
HOSTILE = {
    "/good": (http(jpeg(1)), ""),
    "/endless": (_endless, "is larger than 20 MB"),
    "/drip": (_drip(b"HTTP/1.1 200 x\r\nContent-Length: 5000\r\n\r\n"), "took longer than 3 s"),
    "/drip-headers": (_drip(b"HTTP/1.1 200 x\r\nX-Slow: "), "took longer than 3 s"),
    "/silent": (_silent, "took longer than 3 s"),
    "/huge": (http(jpeg(0), Content_Length=10 * 2**30), "is larger than 20 MB"),
    "/bomb": (http(gzip.compress(bytes(10**8)), Content_Encoding="gzip"), "is larger than 20 MB"),
    "/packed": (http(gzip.compress(jpeg(2)), Content_Encoding="gzip"), ""),
    "/packed-wrongly": (http(jpeg(0), Content_Encoding="gzip"), "is packed wrongly"),
    "/brotli": (http(jpeg(0), Content_Encoding="br"), "is packed as br"),
    "/pixels": (http(_wide_png(), Content_Type="image/png"), "more than 25 million pixels"),
    "/large": (_large("red"), ""),
    "/large-too": (_large("blue"), ""),
    "/loop": (redirect("/loop"), "redirects more than 5 times"),
    "/moved": (redirect("/good-elsewhere"), ""),
    "/good-elsewhere": (http(jpeg(3)), "the same picture as"),
    "/to-private": (redirect("http://127.0.0.2:80/a.jpg"), "leads to 127.0.0.2, which is not a public address"),
    "/to-metadata": (redirect("http://169.254.169.254/latest"), "leads to 169.254.169.254, which is not a public"),
    "/to-localhost": (redirect("http://localhost:1/a.jpg"), "which is not a public address"),
    "/to-file": (redirect("file:///etc/passwd"), "leads to file:///etc/passwd, which is not an http address"),
    "/missing": (http(b"gone", 404), "answered 404"),
    "/busy": ([http(b"", 429, Retry_After=1), http(jpeg(4))], ""),
    "/busy-for-hours": (http(b"", 429, Retry_After=7200), "answered 429 and asks to wait 7200 s"),
    "/broken-once": ([http(b"", 500), http(jpeg(5))], ""),
    "/broken": (http(b"", 500), "answered 500"),
    "/cut": (http(jpeg(0), Content_Length=10**6), "broke off the connection"),
    "/cut-once": ([http(jpeg(6)[:100], Content_Length=len(jpeg(6))), http(jpeg(6))], ""),
    "/no-http": (b"SSH-2.0-OpenSSH_9.2\r\n", "answered against the rules of HTTP"),
    "/page.jpg": (http(b"<!doctype html><title>Login</title>"), "not a picture"),
    "/drawing.svg": (http(b'<svg xmlns="http://www.w3.org/2000/svg"/>'), "not a picture"),
    "/script.eps": (http(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"), "not a picture"),
    "/text.txt": (http(jpeg(7), Content_Type="text/plain"), ""),
    "/truncated.jpg": (http(jpeg(8)[:-200]), "damaged"),
    "/%E9%9D%B4.jpg": (http(jpeg(9)), ""),
    "/スニーカー.jpg": (http(jpeg(10)), ""),
    "/..%2F..%2Fevil.jpg": (http(jpeg(11), Content_Disposition='attachment; filename="../../evil.jpg"'), ""),
    "/twin": (http(jpeg(1)), "the same picture as"),
    "/nothing": (http(b""), "is empty"),
}


def hostile(path: str, query: dict, server, socket):
    """Answer as `HOSTILE` says; of a list, one after another."""
    from urllib.parse import unquote

    found = next(
        (entry for name, entry in HOSTILE.items() if name in (path, unquote(path)) or quote(name) == path), None
    )
    if found is None:
        return http(b"", 404)
    content = found[0]
    if isinstance(content, list):
        return content[min(server.asked[path], len(content)) - 1]
    return content(server, socket) if callable(content) else content
