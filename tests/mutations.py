"""Picture files as nobody would want them: cut, flipped, spliced, lying about their size, or something else at all."""

import io
import random
import struct
import zlib

from PIL import Image

NO_PICTURES = [
    b"",
    b"\0" * 1000,
    b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    b"<!doctype html><title>x</title>",
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99999 99999\n1000 { showpage } repeat\n",
    b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
    b"PK\x03\x04" + b"\0" * 200,
    b"GIF89a" + b"\xff" * 300,
    b"RIFF\xff\xff\xff\xffWEBPVP8X" + b"\xff" * 100,
    b"II*\0\x08\0\0\0\xff\xff" + b"\xff" * 5000,
    b"\0\0\0\x1cftypheic" + b"\0" * 100,
]


def formats():
    """One small picture in every format that Pillow writes."""
    Image.init()
    found, picture = [], Image.radial_gradient("L").resize((40, 30)).convert("RGB")
    for name in sorted(Image.SAVE):
        for mode in ("RGB", "RGBA", "L", "P", "1", "CMYK"):
            buffer = io.BytesIO()
            try:
                picture.convert(mode).save(buffer, name)
            except Exception:  # it has no such mode, or needs a program that is not here
                continue
            found.append(buffer.getvalue())
    return found


def largest():
    """The picture that takes longest of those that are answered."""
    buffer = io.BytesIO()
    Image.new("RGBA", (5000, 5000)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def bombs():
    """Small files that promise a great deal."""
    found = []
    for width, height in ((50_000, 50_000), (2**31 - 1, 1), (5001, 5000), (4999, 5000)):
        head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        body = zlib.compress(bytes(10**6))
        chunks = ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
        parts = [struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks]
        found.append(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    found.append(largest())
    plain = io.BytesIO()
    Image.radial_gradient("L").resize((2000, 2000)).save(plain, "JPEG", progressive=True)
    jpeg = plain.getvalue()
    start = jpeg.index(b"\xff\xda")
    found += [jpeg[:start] + jpeg[start:-2] * 400 + jpeg[-2:], jpeg[:start] + jpeg[start:-2] * 5 + jpeg[-2:]]
    size = jpeg.index(b"\xff\xc2") + 5
    found.append(jpeg[:size] + struct.pack(">HH", 65_000, 65_000) + jpeg[size + 4 :])
    text = zlib.compress(bytes(10**7))
    chunk = b"zTXtx\0\0" + text
    png = found[3]
    found.append(png[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:])
    return found


def mutated(count, seed=0):
    """Yield that many files, every bomb among them once; same seed, same files."""
    lot, whole = random.Random(seed), formats()
    special = [*NO_PICTURES, *bombs(), *whole]
    yield from special[:count]
    for _ in range(count - len(special)):
        content = bytearray(lot.choice(whole))
        for _ in range(lot.choice((1, 1, 2, 5))):
            at = lot.randrange(len(content) + 1)
            match lot.choice(("cut", "flip", "flip", "fill", "splice", "double", "number")):
                case "cut":
                    del content[at:]
                case "flip" if content:
                    for _ in range(lot.choice((1, 8, 64))):
                        content[lot.randrange(min(len(content), lot.choice((64, 10**6))))] ^= 1 << lot.randrange(8)
                case "fill":
                    content[at : at + 16] = bytes([lot.choice((0, 255))]) * 16
                case "splice":
                    other = lot.choice(whole)
                    content[at:] = other[lot.randrange(len(other)) :]
                case "double":
                    content[at:at] = content[: lot.randrange(2000)]
                case "number":
                    content[at : at + 4] = struct.pack(
                        lot.choice("<>") + "I", lot.choice((0, 1, 65535, 2**31 - 1, 2**32 - 1))
                    )
        yield bytes(content)
