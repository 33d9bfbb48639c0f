"""A small app on a server over libraries from PyPI, unmodified: Flask, and fhirclient, SMART's own client for Python.

It goes the way of that library's example: one client for each browser, whose state is in the browser's session.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fhirclient.client import FHIRClient
from fhirclient.models.condition import Condition
from fhirclient.models.documentreference import DocumentReference
from fhirclient.models.immunization import Immunization
from fhirclient.server import FHIRPermissionDeniedException
from flask import Flask, abort, redirect, render_template_string, request, session, url_for
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

KINDS = {"conditions": Condition, "immunizations": Immunization, "notes": DocumentReference}
PAGE = """<!doctype html><html lang="en"><title>notes</title>
<h1>Notes about {{ patient }}</h1><p id="out">{{ said }}</p>
<ul>{% for kind in kinds %}<li><a href="{{ url_for('read', kind=kind) }}">{{ kind }}</a>{% endfor %}</ul>
<form method="post" action="{{ url_for('write') }}"><button>Write a note</button></form>"""


@dataclass
class FlaskApp:
    """``client``, ``secret`` and ``scope`` as registered."""

    origin: str = ""
    client: str = ""
    secret: str = ""
    scope: str = ""


def made(of: FlaskApp) -> Flask:
    """Return the app."""
    app = Flask(__name__)
    app.secret_key = "only-of-tests"
    # In a chart the app is in a frame, and comes back to it from another site.
    app.config.update(SESSION_COOKIE_SAMESITE="None", SESSION_COOKIE_SECURE=True)

    def remember(state: dict[str, Any]) -> None:
        session["state"] = state

    @contextmanager
    def smart(settings: dict[str, Any] | None = None) -> Iterator[FHIRClient]:
        state = None if settings else session.get("state")
        if not settings and not state:
            abort(400, "Open this app from a chart.")
        client = FHIRClient(settings=settings, state=state, save_func=remember)
        # The library leaves its connections open.
        with client.server.session:
            yield client

    def page(client: FHIRClient, said: str) -> str:
        return render_template_string(PAGE, patient=client.patient_id, said=said, kinds=KINDS)

    @app.get("/launch")
    def launch() -> Response:
        if "iss" not in request.args:
            abort(400, "Open this app from a chart.")
        settings = {
            "app_id": of.client,
            "app_secret": of.secret,
            "api_base": request.args["iss"],
            "launch_token": request.args.get("launch"),
            "redirect_uri": f"{of.origin}/app",
            "scope": of.scope,
        }
        session.clear()
        with smart(settings) as client:
            client.prepare()
            return redirect(client.authorize_url)

    @app.get("/app")
    def back() -> Response | str:
        with smart() as client:
            client.handle_callback(request.url)
            return redirect(url_for("read", kind="conditions"))

    @app.get("/read/<kind>")
    def read(kind: str) -> str:
        with smart() as client:
            try:
                search = KINDS[kind].where({"patient": client.patient_id})
                found = list(search.perform_resources_iter(client.server))
            except FHIRPermissionDeniedException as refused:
                return page(client, f"{kind}: {_refusal(refused)}")
            return page(client, f"{kind}: {len(found)} read")

    @app.post("/write")
    def write() -> str:
        with smart() as client:
            note = DocumentReference(
                {
                    "resourceType": "DocumentReference",
                    "status": "current",
                    "subject": {"reference": f"Patient/{client.patient_id}"},
                    "content": [{"attachment": {"contentType": "text/plain", "data": "c2VlbiB0b2RheQ=="}}],
                }
            )
            try:
                note.create(client.server)
            except FHIRPermissionDeniedException as refused:
                return page(client, f"note: {_refusal(refused)}")
            return page(client, "note: written")

    return app


def _refusal(refused: FHIRPermissionDeniedException) -> str:
    """Return what a developer reads of a refusal: the status, and the sentence of the server's answer."""
    outcome = refused.response.json()["issue"][0]
    return f"{refused.response.status_code} {outcome.get('diagnostics') or outcome['details']['text']}"


@contextmanager
def serving() -> Iterator[FlaskApp]:
    """Serve the app on an origin of its own."""
    of = FlaskApp()
    server = make_server("127.0.0.1", 0, made(of), threaded=True)
    of.origin = f"http://localhost:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield of
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
