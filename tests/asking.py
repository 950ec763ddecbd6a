"""Clients of the server under test: polite ones, and sockets that say whatever they are told."""

import io
import json
import socket
import urllib.error
import urllib.request

import numpy as np
from PIL import Image

BOUNDARY = "a-boundary-of-the-tests"


def png(seed=0, size=(48, 32), mode="RGB"):
    """A picture of noise."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def form(*parts, boundary=BOUNDARY):
    """A form of (field, file name or None, content)."""
    body = b""
    for field, name, content in parts:
        file = f'; filename="{name}"' if name is not None else ""
        start = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"{file}\r\n\r\n'
        body += start.encode() + content + b"\r\n"
    return body + f"--{boundary}--\r\n".encode()


def ask(address, body=None, kind=f"multipart/form-data; boundary={BOUNDARY}", method=None, **headers):
    """Status, headers, and the answer: from JSON, else as text."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    headers |= {"Content-Type": kind} if kind and body is not None else {}
    request = urllib.request.Request(address, body, headers, method=method)
    try:
        answer = urllib.request.urlopen(request, timeout=30)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        content = answer.read()
        said = json.loads(content) if "json" in answer.headers["Content-Type"] else content.decode()
        return answer.status, answer.headers, said


def classify(address, content, field="img", name="shoe.png", path="/classify"):
    """Status and answer for one picture."""
    status, _, said = ask(address + path, form((field, name, content)))
    return status, said


def connect(address):
    """A socket to talk through."""
    host, port = address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=20)


def head(body, path="/classify", more=""):
    """The head of a request that announces a body."""
    lines = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
    return f"{lines}Content-Length: {len(body)}\r\n{more}\r\n".encode()


def heard(opened):
    """All that the server says until it hangs up."""
    pieces = b""
    try:
        while piece := opened.recv(65536):
            pieces += piece
    except (ConnectionError, TimeoutError):
        pass
    return pieces
