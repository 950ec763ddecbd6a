"""The page and the API over one model, as a FastAPI application."""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from importlib import resources

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from sneakerlib import InputError, __version__
from sneakerlib.deployment import gate
from sneakerlib.pictures import from_the_web
from sneakerlib.scraping.web import Web

FETCHES = 4  # addresses that are fetched at a time, where that is allowed; as many may wait for it


class Prediction(BaseModel):
    """One class."""

    label: str
    probability: float


class Answer(BaseModel):
    """What is on the picture: all classes, the likeliest first; whether that is sure; and which model says so."""

    success: bool
    predictions: list[Prediction]
    sure: bool
    model: dict[str, str]


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
    model: dict[str, str]
    most_bytes: int
    formats: list[str]


class Failure(BaseModel):
    """Why there is no answer."""

    success: bool
    error: str


FAILURES = {status: {"model": Failure} for status in (400, 408, 413, 415, 422, 503)}


async def _failed(_, error: Exception) -> JSONResponse:
    """Every error has one form."""
    status = 422 if isinstance(error, InputError) else getattr(error, "status_code", 500)
    nowhere = "there is nothing here: the page is at /, the API is described at /docs"
    broken = "something went wrong here: the log has it under the number in X-Request-ID"
    reason = {404: nowhere, 500: broken}.get(status) or getattr(error, "detail", str(error))
    return JSONResponse({"success": False, "error": reason}, status, getattr(error, "headers", None))


def application(desk, allow_urls: bool, allow_hosts: Iterable[str], framed_by: Iterable[str]) -> Callable:
    """The application over a `desk.Desk`; for the options see `serving.Server`."""
    uploads, fetching = gate.Uploads(), gate.Lanes(FETCHES, FETCHES)
    handlers = dict.fromkeys((InputError, HTTPException, Exception), _failed)
    app = FastAPI(title="sneakerlib", version=__version__, docs_url=None, redoc_url=None, exception_handlers=handlers)

    def fetch(url: str) -> bytes:
        with Web(allow_hosts, seconds=gate.ANSWERING / 2, most_bytes=gate.MOST_BYTES) as web:
            return web.get(url)

    @app.post("/classify", responses=FAILURES, openapi_extra=_body(allow_urls))
    async def classify(request: Request) -> Answer:
        """Say what is on a picture."""
        async with uploads.read(request, urls=allow_urls) as sent:
            return await desk.lanes(desk.answer, sent.get("img") or await fetching(fetch, sent["url"]))

    body = _body(False, label={"type": "string", "enum": desk.saved.labels})

    @app.post("/explain", responses=FAILURES, openapi_extra=body, response_model_exclude_unset=True)
    async def explain(request: Request) -> Explanation:
        """Say where the model looked, and which training pictures are most like this one."""
        async with uploads.read(request, ("label",)) as sent:
            label = sent["label"].decode("utf-8", "replace") if "label" in sent else None
            return await desk.explaining(desk.explanation, sent["img"], label)

    @app.get("/labels")
    async def labels() -> Labels:
        """Name the classes."""
        formats = list(dict.fromkeys("JPEG" if name == "MPO" else name for name in from_the_web()))
        return Labels(labels=desk.saved.labels, model=desk.model, most_bytes=gate.MOST_BYTES, formats=formats)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Say that it lives."""
        return {"status": "ok"}

    registry = CollectorRegistry()
    inside = Gauge("sneakerlib_inside", "Pictures that wait or are worked on", registry=registry)
    inside.set_function(lambda: desk.lanes.inside + desk.explaining.inside)

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics():
        """Count, for Prometheus."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    _pages(app, framed_by)
    return gate.watched(app, registry)


def _body(urls: bool, **fields: dict) -> dict:
    """How a request has to look, for OpenAPI."""
    about = f"The bytes of a picture file; the field may be called {' or '.join(gate.FIELDS)}"
    img = {"type": "string", "format": "binary", "description": about}
    form = {"type": "object", "properties": {"img": img, **fields}, "required": ["img"], "additionalProperties": False}
    content = {"multipart/form-data": {"schema": form}}
    if urls:
        content["application/json"] = {"schema": gate.Address.model_json_schema()}
    return {"requestBody": {"required": True, "content": content}}


def _pages(app: FastAPI, framed_by: Iterable[str]) -> None:
    """The page, and the description of the API for people; neither needs anything from elsewhere."""
    page = (resources.files("sneakerlib.deployment") / "page.html").read_text(encoding="utf-8")
    own = {"swagger_js_url": "docs-files/swagger-ui-bundle.js", "swagger_css_url": "docs-files/swagger-ui.css"}
    about = {"openapi_url": "openapi.json", "title": "sneakerlib: API", "swagger_favicon_url": "data:,"}
    docs = get_swagger_ui_html(**about, **own)
    for path, html in (("/", page), ("/docs", docs.body.decode())):
        answer = HTMLResponse(html, headers={"Content-Security-Policy": _policy(html, framed_by)})
        app.add_route(path, answer, ["GET"], include_in_schema=False)
    app.mount("/docs-files", StaticFiles(packages=[("fastapi_offline", "static")]))


def _policy(html: str, framed_by: Iterable[str]) -> str:
    """What a page of ours may do: run its own script, known by its hash, wear its own style, ask its own server."""
    own, ancestors = "'self'", " ".join(framed_by) or "'none'"
    for _, inside in re.findall(r"<(script|style)>(.*?)</\1>", html, re.DOTALL):
        own += f" 'sha256-{base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()}'"
    only = f"default-src 'none'; script-src {own}; style-src {own}; img-src 'self' blob: data:; connect-src 'self'"
    return f"{only}; base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
