"""Pictures as they come in over HTTP: in memory only, within limits, whatever they are called."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import create_form_parser
from starlette.requests import Request

MOST_BYTES = 20_000_000  # of one request: more than any camera's JPEG
MOST_HELD = 200_000_000  # bytes of all requests that are being read or worked on
MOST_DRAINED = 100_000_000  # bytes of a request that is too large, read and dropped before it is told so
SECONDS = 60  # for a request to be sent in full: a telephone may need half of it for 5 MB
MOST_PARTS = 8  # of a form: one or two are wanted
MOST_JSON = 10_000  # bytes: addresses are shorter, and nesting cannot get deep
FIELDS = ("img", "image")  # under which a picture may be sent


class Refused(Exception):
    """A request that gets no answer but a reason.

    Attributes:
        status: HTTP's number for it.
        reason: One line that says what is wrong and what to do.
        headers: To send along.
    """

    def __init__(self, status: int, reason: str, **headers: str):
        super().__init__(reason)
        self.status, self.reason = status, reason
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def busy() -> Refused:
    """Too much is going on."""
    return Refused(503, "too many pictures at once: try again in a second", Retry_After="1")


class Uploads:
    """Reads requests, each within a limit, and all of them together within another.

    Args:
        most: Bytes of one request. Defaults to 20,000,000.
        most_held: Bytes of all that are being read or worked on. Defaults to 200,000,000.
        seconds: For a request to be sent in full. Defaults to 60.
    """

    def __init__(self, most: int = MOST_BYTES, most_held: int = MOST_HELD, seconds: float = SECONDS):
        self.most, self.most_held, self.seconds, self.held = most, most_held, seconds, 0

    @contextlib.asynccontextmanager
    async def body(self, request: Request) -> AsyncIterator[bytes]:
        """The body of a request; it counts as held until the block ends.

        Raises:
            Refused: If it is too large (413), too slow (408), or too much is held already (503).
        """
        too_large = Refused(413, f"the picture is larger than {self.most / 1e6:g} MB: send a smaller one")
        announced = int(request.headers.get("content-length", 0))
        if announced > MOST_DRAINED or (announced > self.most and "expect" in request.headers):
            raise too_large
        body, size = bytearray(), 0
        try:
            try:
                async with asyncio.timeout(self.seconds):
                    async for piece in request.stream():
                        size += len(piece)
                        if size > MOST_DRAINED:
                            break
                        if max(size, announced) > self.most:
                            continue  # whoever still sends would not read an answer, so let it come and drop it
                        body += piece
                        self.held += len(piece)
                        if self.held > self.most_held:
                            raise busy()
            except TimeoutError:
                reason = f"the request took longer than {self.seconds:g} s: check the connection and try again"
                raise Refused(408, reason, Connection="close") from None
            if size > self.most:
                raise too_large
            yield bytes(body)
        finally:
            self.held -= len(body)


def form(body: bytes, content_type: str, more: tuple[str, ...] = ()) -> tuple[bytes, dict[str, str]]:
    """Take a form apart, in memory.

    Args:
        body: Of the request.
        content_type: Of the request, which names the boundary.
        more: Fields that there may be beside the picture. Defaults to none.

    Returns:
        The bytes of the picture, and the other fields as text.

    Raises:
        Refused: If there is not exactly one picture in it, or an unknown field (400), or it is no form (415).
    """
    if not content_type.lower().startswith("multipart/form-data"):
        raise Refused(415, "send the picture as multipart/form-data, in a field named img")
    parts = []

    def keep(name: bytes | None, content: bytes | None) -> None:
        if len(parts) == MOST_PARTS:
            raise FormParserError("too many parts")
        parts.append(((name or b"").decode("utf-8", "replace"), content or b""))

    def on_file(file) -> None:
        file.file_object.seek(0)
        keep(file.field_name, file.file_object.read())

    try:
        parser = create_form_parser(
            {"Content-Type": content_type.encode("latin-1")},
            lambda field: keep(field.field_name, field.value),  # a picture may come without a file name, too
            on_file,
            {"MAX_MEMORY_FILE_SIZE": len(body) + 1},  # else it would write larger pictures to a file
        )
        parser.write(body)
        parser.finalize()
    except ValueError as error:  # which FormParserError is, too
        raise Refused(400, f"the form cannot be read ({error}): send multipart/form-data, field img") from None
    pictures = [content for name, content in parts if name in FIELDS]
    if len(pictures) != 1 or not pictures[0]:
        found = "an empty one" if len(pictures) == 1 else len(pictures) or "none"
        raise Refused(400, f"one picture is wanted in a field named img or image, found {found}")
    fields = {name: content.decode("utf-8", "replace") for name, content in parts if name not in FIELDS}
    if not fields.keys() <= set(more):
        raise Refused(400, f"there is a field that nobody asked for: send {', '.join((FIELDS[0], *more))}")
    return pictures[0], fields


def address(body: bytes) -> str:
    """The `url` of a JSON body.

    Raises:
        Refused: If there is none (400).
    """
    with contextlib.suppress(ValueError, KeyError, TypeError):
        if len(body) <= MOST_JSON and isinstance(url := json.loads(body)["url"], str):
            return url
    raise Refused(400, 'the JSON names no address: send {"url": "https://…"}')
