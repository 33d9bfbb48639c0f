"""The EHR's client of the platform gets a new token when the platform revoked the one that it has."""

import asyncio

from aiohttp import web
from aiohttp.test_utils import TestServer

from hilum.foundation.infra.system import SystemClock
from hilum.foundation.web.urls import Urls
from hilum_ehr.sandbox.ehr.platform import Platform

REQUESTS = 2


def test_requests_whose_token_was_revoked_at_the_same_time_are_each_sent_again() -> None:
    tokens: list[str] = []
    refused: list[str] = []
    all_refused = asyncio.Event()

    async def token(_request: web.Request) -> web.Response:
        tokens.append(f"token-{len(tokens)}")
        return web.json_response({"access_token": tokens[-1], "expires_in": 300})

    async def launch(request: web.Request) -> web.Response:
        bearer = request.headers["authorization"].removeprefix("Bearer ")
        if bearer != "token-0":
            return web.json_response({})
        refused.append(bearer)
        if len(refused) == REQUESTS:
            all_refused.set()
        await all_refused.wait()
        return web.json_response({"code": "token_revoked"}, status=401)

    async def story() -> None:
        app = web.Application()
        app.router.add_post("/t/{tenant}/oauth/token", token)
        app.router.add_delete("/t/{tenant}/ehr/launches/{launch}", launch)
        async with TestServer(app) as server:
            urls = Urls(str(server.make_url("")).rstrip("/"), "http://localhost:9")
            platform = Platform(urls, SystemClock(), {"general": ("ehr-general", "secret")}, "")
            # Both requests begin with the first token.
            await platform._token("general")
            await asyncio.gather(*(platform.end_launch("general", f"lch_{n}") for n in range(REQUESTS)))
            await platform.close()

    asyncio.run(asyncio.wait_for(story(), 20))

    assert len(refused) == REQUESTS
