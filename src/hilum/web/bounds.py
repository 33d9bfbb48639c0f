"""A bound on request bodies, before any framework collects them."""

from hilum.kernel.errors import Invalid
from hilum.web.asgi import App, Message, Receive, Scope, Send
from hilum.web.problems import problem_response

API_BODY_BOUND = 1024 * 1024


class _TooLarge(Exception):
    pass


class Bounded:
    """Refuses a body larger than ``bound`` with 413, declared or not."""

    def __init__(self, app: App, bound: int = API_BODY_BOUND) -> None:
        self._app = app
        self._bound = bound

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
        if declared.isdigit() and int(declared[:20]) > self._bound:
            await self._refuse(scope, receive, send)
            return
        seen, started = 0, False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._bound:
                raise _TooLarge
            return message

        async def watched(message: Message) -> None:
            nonlocal started
            if seen > self._bound and not started:
                raise _TooLarge  # the framework made an answer of its own out of ours
            started = True
            await send(message)

        try:
            await self._app(scope, counted, watched)
        except _TooLarge:
            if not started:
                await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = str(scope.get("state", {}).get("request_id", ""))
        error = Invalid("body_too_large", f"A request has at most {self._bound} bytes.")
        await problem_response(error, request_id)(scope, receive, send)
