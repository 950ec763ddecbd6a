"""What a server bears: many clients at once on the loopback address, beside what the engine does alone.

python benchmarks/load.py MODEL [--pictures 2000] [--clients 16]

Server and clients share the cores. The pictures are drawn (300 to 400 pixels, JPEG), a hundred different ones. Memory
is the server's resident set, after a tenth of the pictures and at the end.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np

from sneakerlib import catalog
from sneakerlib.learning import model_folder
from sneakerlib.sample import dataset

BOUNDARY = "load"


def main() -> None:
    """Print pictures per second, percentiles and memory."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        dataset.make(Path(folder) / "s", classes=5, per_class=20, progress=False, defects=False)
        rows = catalog.read(Path(folder) / "s")
        contents = [(Path(folder) / "s" / path).read_bytes() for path in rows.path]
    bare, decoding = alone(model_folder.load(options.model), contents)
    command = [sys.executable, "-m", "sneakerlib.cli", "serve", options.model, "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            address = json.loads("".join(islice(server.stdout, 3)))["address"]
            warm = options.pictures // 10
            asyncio.run(load(address, contents, warm, options.clients))
            before = resident(server.pid)
            begun = time.monotonic()
            seconds = asyncio.run(load(address, contents, options.pictures, options.clients))
            served = options.pictures / (time.monotonic() - begun)
            after = resident(server.pid)
        finally:
            server.terminate()
    bare_again, decoding_again = alone(model_folder.load(options.model), contents)  # the machine may have changed
    bare, decoding = (bare + bare_again) / 2, (decoding + decoding_again) / 2
    p50, p95, p99 = 1000 * np.quantile(seconds, [0.5, 0.95, 0.99])
    print(f"engine alone {bare:.0f} pictures/s, with decoding {decoding:.0f}")
    print(
        f"served {served:.0f} pictures/s to {options.clients} clients: {served / bare:.0%} of the engine alone, ",
        end="",
    )
    print(f"{served / decoding:.0%} of it with decoding; {len(seconds)} answers, all 200")
    print(f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms; memory {before:.0f} to {after:.0f} MB ", end="")
    print(f"({after / before - 1:+.1%})")


def alone(saved: model_folder.Saved, contents: list[bytes]) -> tuple[float, float]:
    """Pictures per second on every core: of arrays, and of files."""
    arrays = [saved.look(content) for content in contents]
    rates = []
    for load_one, sources in ((lambda array: array, arrays), (saved.look, contents)):
        with ThreadPoolExecutor(saved.engine.lanes) as pool:
            list(pool.map(lambda one, load=load_one: saved.engine(load(one)), sources))
            begun = time.monotonic()
            list(pool.map(lambda one, load=load_one: saved.engine(load(one)), sources * 5))
        rates.append(5 * len(sources) / (time.monotonic() - begun))
    return rates[0], rates[1]


async def load(address: str, contents: list[bytes], count: int, clients: int) -> list[float]:
    """Send pictures from several clients, each over one connection; returns the seconds of each answer."""
    host, port = address.removeprefix("http://").split(":")
    numbers, seconds = iter(range(count)), []

    async def client() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        for number in numbers:
            begun = time.monotonic()
            writer.write(request(contents[number % len(contents)]))
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            await reader.readexactly(int(head.split("content-length: ")[1].split("\r\n")[0]))
            assert head.startswith("http/1.1 200"), head
            seconds.append(time.monotonic() - begun)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return seconds


def request(content: bytes) -> bytes:
    """One picture as browsers send it."""
    start = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="img"; filename="a.jpg"\r\n\r\n'
    body = start.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()
    head = f"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
    return head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body


def resident(pid: int) -> float:
    """Megabytes in memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1000


if __name__ == "__main__":
    main()
