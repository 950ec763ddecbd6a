"""The page and the API over one model, as a FastAPI application."""

import asyncio
import base64
import hashlib
import re
from collections.abc import Iterable
from importlib import resources

import fastapi
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from sneakerlib import InputError, __version__
from sneakerlib.deployment.desk import Busy, Desk, Lanes
from sneakerlib.deployment.gate import Gate, Numbers
from sneakerlib.deployment.uploads import FIELDS, Refused, Uploads, address, busy, form
from sneakerlib.pictures import from_the_web
from sneakerlib.scraping.web import Web

SECONDS = 10  # for an answer, waiting for its turn included
FETCHES = 4  # addresses that are fetched at a time, where that is allowed
PATHS = ["/", "/classify", "/explain", "/labels", "/healthz", "/metrics", "/docs", "/openapi.json"]


class Prediction(BaseModel):
    """One class."""

    label: str
    probability: float


class Model(BaseModel):
    """Which model answered."""

    name: str
    recipe: str
    backbone: str
    fingerprint: str


class Answer(BaseModel):
    """What is on the picture: all classes, the likeliest first."""

    success: bool
    predictions: list[Prediction]
    sure: bool
    model: Model


class Alike(BaseModel):
    """A training picture that is like the one asked about: cosine similarity, and the picture as a data: address."""

    label: str
    similarity: float
    picture: str


class Explanation(BaseModel):
    """What speaks for a class: a transparent PNG to lay over the picture as a data: address, and similar pictures."""

    success: bool
    label: str
    heat: str = ""
    similar: list[Alike]


class Labels(BaseModel):
    """What the model can answer, and what it can be asked."""

    labels: list[str]
    model: Model
    most_bytes: int
    formats: list[str]


class Health(BaseModel):
    """It lives."""

    status: str


class Failure(BaseModel):
    """Why there is no answer."""

    success: bool
    error: str


WHY = {
    400: "There is not exactly one picture in the form",
    408: "The request was sent too slowly",
    413: "The request is too large",
    415: "The request is no form",
    422: "The picture cannot be read, or the class is unknown",
    503: "Too many pictures at once: try again after `Retry-After` seconds",
}
FAILURES = {status: {"model": Failure, "description": why} for status, why in WHY.items()}


def application(
    desk: Desk, allow_urls: bool = False, allow_hosts: Iterable[str] = (), framed_by: Iterable[str] = ()
) -> Gate:
    """The application.

    Args:
        desk: Who answers.
        allow_urls: Fetch pictures from the web for whoever asks. Defaults to False.
        allow_hosts: `HOST:PORT` of hosts with a private address that may be fetched from. Defaults to none.
        framed_by: Sites that may show the page in a frame. Defaults to none.
    """
    uploads, fetching = Uploads(), Lanes(FETCHES, FETCHES)
    app = fastapi.FastAPI(
        title="sneakerlib", version=__version__, description="What is on a picture?", docs_url=None, redoc_url=None
    )

    async def finished(lanes: Lanes, job, *given):
        """Wait for a job, within limits."""
        try:
            return await asyncio.wait_for(asyncio.wrap_future(lanes.submit(job, *given)), SECONDS)
        except (Busy, TimeoutError):
            raise busy() from None

    def classified(body: bytes, content_type: str) -> dict:
        return desk.answer(form(body, content_type)[0])

    def explained(body: bytes, content_type: str) -> dict:
        content, fields = form(body, content_type, ("label",))
        return desk.explanation(content, fields.get("label"))

    @app.post("/classify", response_model=Answer, responses=FAILURES, openapi_extra=_body(allow_urls))
    async def classify(request: fastapi.Request):
        """Say what is on a picture."""
        content_type = request.headers.get("content-type", "")
        async with uploads.body(request) as sent:
            if allow_urls and content_type.lower().startswith("application/json"):
                fetched = await finished(fetching, _fetch, address(sent), allow_hosts, uploads.most)
                return JSONResponse(await finished(desk.lanes, desk.answer, fetched))
            return JSONResponse(await finished(desk.lanes, classified, sent, content_type))

    @app.post(
        "/explain",
        response_model=Explanation,
        responses=FAILURES,
        openapi_extra=_body(False, label={"type": "string", "enum": desk.saved.labels}),
    )
    async def explain(request: fastapi.Request):
        """Say where the model looked, and which training pictures are most like this one."""
        async with uploads.body(request) as sent:
            content_type = request.headers.get("content-type", "")
            return JSONResponse(await finished(desk.explaining, explained, sent, content_type))

    @app.get("/labels")
    async def labels() -> Labels:
        """Name the classes."""
        formats = ["JPEG" if name == "MPO" else name for name in from_the_web()]
        return Labels(
            labels=desk.saved.labels,
            model=Model(**desk.model),
            most_bytes=uploads.most,
            formats=list(dict.fromkeys(formats)),
        )

    @app.get("/healthz")
    async def healthz() -> Health:
        """Say that it lives."""
        return Health(status="ok")

    numbers = Numbers(lambda: desk.lanes.inside + desk.explaining.inside, PATHS)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics():
        """Count, for Prometheus."""
        return Response(generate_latest(numbers.registry), media_type=CONTENT_TYPE_LATEST)

    _pages(app, framed_by)
    _errors(app)
    return Gate(app, numbers)


def _fetch(url: str, allow: Iterable[str], most: int) -> bytes:
    with Web(allow, seconds=SECONDS / 2, most_bytes=most) as web:
        return web.get(url)


def _body(urls: bool, **fields: dict) -> dict:
    """How a request has to look, for OpenAPI."""
    about = f"The bytes of a picture file; the field may be called {' or '.join(FIELDS)}"
    wanted = {
        "type": "object",
        "properties": {FIELDS[0]: {"type": "string", "format": "binary", "description": about}, **fields},
        "required": [FIELDS[0]],
        "additionalProperties": False,
    }
    content = {"multipart/form-data": {"schema": wanted}}
    if urls:
        url = {"type": "string", "format": "uri", "description": "The public address of a picture"}
        content["application/json"] = {
            "schema": {"type": "object", "properties": {"url": url}, "required": ["url"]},
        }
    return {"requestBody": {"required": True, "content": content}}


def _pages(app: fastapi.FastAPI, framed_by: Iterable[str]) -> None:
    """The page, and the description of the API for people; neither needs anything from elsewhere."""
    page = (resources.files("sneakerlib.deployment") / "page.html").read_text(encoding="utf-8")
    docs = get_swagger_ui_html(
        openapi_url="openapi.json",
        title="sneakerlib: API",
        swagger_js_url="docs-files/swagger-ui-bundle.js",
        swagger_css_url="docs-files/swagger-ui.css",
        swagger_favicon_url="data:,",
    ).body.decode()
    for path, html in {"/": page, "/docs": docs}.items():
        answer = HTMLResponse(html, headers={"Content-Security-Policy": _policy(html, framed_by)})
        app.add_api_route(path, _giving(answer), include_in_schema=False)
    app.mount("/docs-files", StaticFiles(packages=[("fastapi_offline", "static")]))


def _giving(answer: Response):
    async def give():
        return answer

    return give


def _policy(html: str, framed_by: Iterable[str]) -> str:
    """What a page of ours may do: run its own script, known by its hash, wear its own style, ask its own server."""
    hashes = {
        tag: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()}'"
            for inside in re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        )
        for tag in ("script", "style")
    }
    ancestors = " ".join(framed_by) or "'none'"
    return (
        f"default-src 'none'; script-src 'self' {hashes['script']}; style-src 'self' {hashes['style']}; "
        "img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        f"frame-ancestors {ancestors}"
    )


def _errors(app: fastapi.FastAPI) -> None:
    """Every error has one form."""

    def failure(status: int, reason: str, headers: dict | None = None) -> JSONResponse:
        return JSONResponse({"success": False, "error": reason}, status, headers)

    @app.exception_handler(Refused)
    async def refused(_, error: Refused):
        return failure(error.status, error.reason, error.headers)

    @app.exception_handler(InputError)
    async def unreadable(_, error: InputError):
        return failure(422, str(error))

    @app.exception_handler(HTTPException)
    async def elsewhere(_, error: HTTPException):
        detail = str(error.detail)
        if error.status_code == 404:
            detail = "there is nothing here: the page is at /, the API is described at /docs"
        return failure(error.status_code, detail, error.headers)

    @app.exception_handler(Exception)
    async def broken(_request, _error):
        return failure(500, "something went wrong here: the log has it under the number in X-Request-ID")
