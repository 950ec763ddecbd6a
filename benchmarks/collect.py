"""How much faster many downloads at a time are than one at a time, from a server that is 20 ms away.

Run with `make bench`. The server is a process of its own on the loopback address; it answers each request 20 ms after
it came, as a server in the same country does. Both ways run the very same code: only the number of connections differs.
What counts is the ratio; the seconds depend on the machine and on what else it does.
"""

import argparse
import asyncio
import io
import multiprocessing
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from sneakerlib.scraping import collect, searchterms

LATENCY = 0.02  # seconds


def pictures(count: int) -> list[bytes]:
    """JPEGs of about 8 KB, no two alike."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        picture = Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).resize((200, 200), Image.BICUBIC)
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=50)
        found.append(buffer.getvalue())
    return found


def serve(bodies: list[bytes], ports) -> None:
    """Answer `GET /NUMBER` with that picture, 20 ms later; connections are kept."""

    async def answer(reader, writer):
        while head := await reader.readuntil(b"\r\n\r\n"):
            path = head.split()[1].strip(b"/")
            await asyncio.sleep(LATENCY)
            known = path.isdigit()
            body = bodies[int(path)] if known else b""
            status = b"200 OK" if known else b"404 Not Found"
            writer.write(b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body)

    async def main():
        def quiet(loop, context):  # clients that hang up
            pass

        asyncio.get_running_loop().set_exception_handler(quiet)
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1000)
        ports.put(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())


def seconds(port: int, count: int, connections: int) -> float:
    """Collect all pictures into an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "urls.txt").write_text("\n".join(f"http://127.0.0.1:{port}/{number}" for number in range(count)))
        table = pd.DataFrame({"label": ["shoe"], "query": ["urls.txt"], "limit": [count], "source": ["urls"]})
        table = searchterms.check(table)
        table.attrs["folder"] = folder
        begun = time.monotonic()
        found = collect.collect(
            table, Path(folder, "out"), allow=[f"127.0.0.1:{port}"], connections=connections, progress=False
        )
        taken = time.monotonic() - begun
        assert len(found.catalog) == count, found.rejected
        return taken


def main() -> None:
    """Measure both ways in turn, three times, and print the ratio."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--count", type=int, default=2000, help="pictures (default: %(default)s)")
    options.add_argument("--rounds", type=int, default=3, help="(default: %(default)s)")
    chosen = options.parse_args()
    bodies = pictures(chosen.count)
    print(f"{chosen.count} pictures of {np.mean([len(body) for body in bodies]) / 1000:.1f} KB")
    ports = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(bodies, ports), daemon=True)
    server.start()
    port, ratios = ports.get(), []
    for _ in range(chosen.rounds):
        many, one = (seconds(port, chosen.count, connections) for connections in (64, 1))
        ratios.append(one / many)
        print(f"64 at a time {many:6.2f} s   one at a time {one:6.2f} s   ratio {one / many:5.1f}", flush=True)
    print(f"ratio: median {np.median(ratios):.1f}")
    server.terminate()


if __name__ == "__main__":
    main()
