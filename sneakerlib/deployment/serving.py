"""A model folder as a page and an API: one process, no account, no database."""

import contextlib
import html
import logging
import signal
import socket
import threading
from pathlib import Path

from sneakerlib import InputError
from sneakerlib.learning import model_folder
from sneakerlib.pictures import quietly

PORT = 5000
CONNECTIONS = 500  # at a time; whoever comes then is told to try again. Against slow ones see README: a proxy
LEAVE = 10  # seconds that requests under way get when the server is stopped


class Server(contextlib.AbstractContextManager):
    """A server in a thread of its own, from the moment it is made until it is stopped.

    Args:
        model: A model folder, or one that was loaded with `model_folder.load`. It is loaded before the port opens.
        host: Where to listen. Defaults to 127.0.0.1: only this computer can ask.
        port: Which port. Defaults to a free one.
        allow_urls: Fetch pictures from the web for whoever asks. Defaults to False.
        allow_hosts: `HOST:PORT` of hosts with a private address that may be fetched from. Defaults to none.
        framed_by: Sites that may show the page in a frame, such as `https://*.example.org`. Defaults to none.

    Attributes:
        address: Where it is found, such as `http://127.0.0.1:5000`.
        port: Its port.

    Raises:
        InputError: If the model folder is missing or damaged, or the port is taken.

    Use it in a `with` block, or call `stop()`.
    """

    def __init__(self, model, host: str = "127.0.0.1", port: int = 0, allow_urls=False, allow_hosts=(), framed_by=()):
        model_folder.check(getattr(model, "folder", model))
        try:
            import uvicorn

            from sneakerlib.deployment import api, desk
        except ModuleNotFoundError as error:
            raise InputError(f"serving needs {error.name}: pip install 'sneakerlib[serve]'") from error
        with contextlib.ExitStack() as otherwise:  # a taken port is told before the model is loaded
            opened = otherwise.enter_context(_bound(host, port))
            self.desk = desk.Desk(model)
            otherwise.pop_all()
        self.port = opened.getsockname()[1]
        self.address = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
        config = uvicorn.Config(
            api.application(self.desk, allow_urls, allow_hosts, framed_by),
            http="h11",  # cuts off a head of more than 64 KiB
            limit_concurrency=CONNECTIONS,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,  # the gate writes one that tells less about people
            server_header=False,
            timeout_graceful_shutdown=LEAVE,
        )
        self.server = uvicorn.Server(config)
        run = quietly()(self.server.run)  # around all threads that open pictures, see there
        self.thread = threading.Thread(target=run, args=([opened],), daemon=True)
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

    def __exit__(self, *_) -> None:
        self.stop()


def serve(model, host: str = "127.0.0.1", port: int = PORT, say=print, **options) -> None:
    """Run a server until Ctrl-C or SIGTERM, which let it finish what it has begun.

    Args:
        model: See `Server`.
        host: See `Server`.
        port: See `Server`. Defaults to 5000.
        say: Is called with the address once it can be asked. Defaults to `print`.
        **options: See `Server`.
    """
    stopped = threading.Event()
    with Server(model, host, port, **options) as server:
        logging.basicConfig(format="%(asctime)s %(message)s", force=True)  # TensorFlow has put its own handler there
        logging.getLogger(__name__).setLevel(logging.INFO)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stopped.set())
        say(server.address)
        while not stopped.wait(1):
            if not server.thread.is_alive():
                raise RuntimeError(f"the server at {server.address} ended by itself: see its log")


def _bound(host: str, port: int) -> socket.socket:
    """A socket that has its port but does not listen yet."""
    opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((host, port))
    except (OSError, OverflowError) as error:
        opened.close()
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{host}:{port} cannot be listened on ({reason}): choose another --host or --port") from error
    return opened


def demo(model: str | Path | model_folder.Saved):
    """A button to choose pictures with, and the answers below it: in Colab and Jupyter, without a server.

    Args:
        model: A model folder, or one that was loaded with `model_folder.load`.

    Returns:
        A widget, which shows itself as the last line of a cell.
    """
    import ipywidgets

    saved, wide = model_folder.load(model), ipywidgets.Layout(width="auto", align_self="flex-start")
    button = ipywidgets.FileUpload(accept="image/*", multiple=True, description="Choose pictures", layout=wide)
    said = ipywidgets.HTML("A picture stays in this notebook: it is sent to its kernel, and nowhere else.")

    def answer(change) -> None:
        given = change["new"]  # ipywidgets 7 has a dictionary, 8 a tuple
        files = given.items() if isinstance(given, dict) else [(file["name"], file) for file in given]
        said.value = "".join(_told(saved, name, bytes(file["content"])) for name, file in files)

    button.observe(answer, "value")
    return ipywidgets.VBox([button, said])


def _told(saved: model_folder.Saved, name: str, content: bytes) -> str:
    """The answer to one picture as HTML."""
    try:
        ranked = saved.classify(content, name=name, strange=True)
    except InputError as error:
        return f"<p>✗ {html.escape(str(error))}</p>"
    said = f"<b>{html.escape(name)}</b>: {'most likely' if saved.sure(ranked) else 'not sure, perhaps'}"
    rows = "".join(
        f"<tr><td>{html.escape(label)}</td><td><meter value='{p:.4f}'></meter></td><td>{p:.1%}</td></tr>"
        for label, p in list(ranked.items())[:5]  # as the page does
    )
    return f"<p>{said} {html.escape(next(iter(ranked)))}</p><table>{rows}</table>"
