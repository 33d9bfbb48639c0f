"""Serves an ASGI app on a loopback port of its own, in a thread, for what speaks real HTTP to it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


@contextmanager
def serving(make: Callable[[int], Any]) -> Iterator[int]:
    """Serve what ``make`` returns for a port; yield the port. It is held from the first moment, so that nobody else takes it and none is refused."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = int(held.getsockname()[1])
        server = uvicorn.Server(uvicorn.Config(make(port), log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [held]}, daemon=True)
        thread.start()
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join(10)
