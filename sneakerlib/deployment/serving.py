"""A model folder as a page and an API: one process, no account, no database."""

import html
import logging
import socket
import sys
import threading
from pathlib import Path

from sneakerlib import InputError
from sneakerlib.learning import model_folder

PORT = 5000
CONNECTIONS = 500  # at a time; whoever comes then is told to try again. Against slow ones see README: a proxy
LEAVE = 10  # seconds that requests under way get when the server is stopped


class Server:
    """A server in a thread of its own, from the moment it is made until it is stopped.

    Args:
        model: A model folder, or one that was loaded with `model_folder.load`. It is loaded before the port opens.
        host: Where to listen. Defaults to 127.0.0.1: only this computer can ask.
        port: Which port. Defaults to a free one.
        allow_urls: Fetch pictures from the web for whoever asks. Defaults to False.
        allow_hosts: `HOST:PORT` of hosts with a private address that may be fetched from. Defaults to none.
        framed_by: Sites that may show the page in a frame, such as `https://*.example.org`. Defaults to none.
        waiting: Questions that may wait before the answer is "try again". Defaults to 64.

    Attributes:
        address: Where it is found, such as `http://127.0.0.1:5000`.
        port: Its port.

    Raises:
        InputError: If the model folder is missing or damaged, or the port is taken.

    Use it in a `with` block, or call `stop()`.
    """

    def __init__(self, model, host: str = "127.0.0.1", port: int = 0, **options):
        self.desk, self.server, self.socket = _prepare(model, host, port, lambda address: None, **options)
        self.address, self.port = _address(self.socket), self.socket.getsockname()[1]
        self.thread = threading.Thread(target=self.server.run, args=([self.socket],), daemon=True)
        self.thread.start()
        while not self.server.started:
            if not self.thread.is_alive():
                raise RuntimeError(f"the server at {self.address} ended at once: see its log")
            self.thread.join(0.01)

    def stop(self) -> None:
        """Answer what was asked already, then close the port."""
        self.server.should_exit = True
        self.thread.join()
        self.desk.close()

    def __enter__(self) -> "Server":
        """Nothing more to do: it runs."""
        return self

    def __exit__(self, *_) -> None:
        """Stop."""
        self.stop()


def serve(model: str | Path, host: str = "127.0.0.1", port: int = PORT, say=print, **options) -> None:
    """Run a server until Ctrl-C or SIGTERM, which let it finish what it has begun.

    Args:
        model: See `Server`.
        host: See `Server`.
        port: See `Server`. Defaults to 5000.
        say: Is called with the address once it can be asked. Defaults to `print`.
        options: See `Server`.
    """
    desk, server, opened = _prepare(model, host, port, say, **options)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log = logging.getLogger("sneakerlib.deployment.serving")
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # TensorFlow gives the root logger a handler: every line would come twice
    try:
        server.run([opened])
    finally:
        desk.close()
        log.removeHandler(handler)
        log.propagate = True


def _prepare(
    model, host: str, port: int, ready, allow_urls: bool = False, allow_hosts=(), framed_by=(), **options
) -> tuple:
    """The desk, the server and its socket: bound first, so that a wrong port is named without waiting for the model."""
    try:
        import uvicorn

        from sneakerlib.deployment import api, desk
    except ModuleNotFoundError as error:
        if error.name in ("tensorflow", "jax", "torch"):  # what Keras runs on is not among these
            raise
        raise InputError(f"serving needs {error.name}: pip install 'sneakerlib[serve]'") from error

    class Stopping(uvicorn.Server):
        def handle_exit(self, sig, frame) -> None:  # uvicorn would raise the signal again, and not end with 0
            self.force_exit, self.should_exit = self.should_exit, True

        async def startup(self, sockets=None) -> None:
            await super().startup(sockets)
            ready(_address(opened))

    if not isinstance(model, model_folder.Saved):
        model_folder.check(model)
    opened = _bound(host, port)
    try:
        answering = desk.Desk(model, **options)
    except BaseException:
        opened.close()
        raise
    app = api.application(answering, allow_urls, allow_hosts, framed_by)
    config = uvicorn.Config(
        app,
        http="h11",  # cuts off a head of more than 64 KiB
        limit_concurrency=CONNECTIONS,
        ws="none",
        log_config=None,
        access_log=False,  # the gate writes one that tells less about people
        server_header=False,
        timeout_graceful_shutdown=LEAVE,
    )
    return answering, Stopping(config), opened


def _bound(host: str, port: int) -> socket.socket:
    """A socket that has its port but does not listen yet."""
    if not 0 <= port < 65536:
        raise InputError(f"there is no port {port}: choose a --port up to 65535, or 0 for a free one")
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(place)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{host}:{port} cannot be listened on ({reason}): choose another --host or --port") from error
    return opened


def _address(opened: socket.socket) -> str:
    host, port = opened.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def demo(model, most: int = 5):
    """A button to choose pictures with, and the answers below it: in Colab and Jupyter, without a server.

    Args:
        model: A model folder, or one that was loaded with `model_folder.load`.
        most: Classes that are named. Defaults to 5.

    Returns:
        A widget, which shows itself as the last line of a cell.
    """
    import ipywidgets

    saved = model_folder.load(model)
    button = ipywidgets.FileUpload(accept="image/*", multiple=True, description="Choose pictures")
    said = ipywidgets.HTML("A picture stays in this notebook: it is sent to its kernel, and nowhere else.")

    def answer(change) -> None:
        given = change["new"]  # ipywidgets 7 has a dictionary, 8 a tuple
        files = given.items() if isinstance(given, dict) else [(file["name"], file) for file in given]
        said.value = "".join(_told(saved, name, bytes(file["content"]), most) for name, file in files)

    button.observe(answer, "value")
    return ipywidgets.VBox([button, said])


def _told(saved, name: str, content: bytes, most: int) -> str:
    """The answer to one picture as HTML."""
    try:
        ranked = saved.classify(content, name=name, strange=True)
    except InputError as error:
        return f"<p>✗ {html.escape(str(error))}</p>"
    first = next(iter(ranked))
    said = "most likely" if saved.sure(ranked) else "not sure, perhaps"
    rows = [
        f"<tr><td>{html.escape(label)}</td><td><meter value='{p:.4f}'></meter></td><td>{p:.1%}</td></tr>"
        for label, p in list(ranked.items())[:most]
    ]
    return f"<p><b>{html.escape(name)}</b>: {said} {html.escape(first)}</p><table>{''.join(rows)}</table>"
