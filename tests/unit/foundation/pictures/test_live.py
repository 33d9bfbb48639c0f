"""Reading a picture keeps nobody else waiting (security decision 26)."""

import asyncio
import base64

import pytest

from hilum.foundation.kernel.errors import Invalid
from hilum.foundation.pictures import live, policy
from tests.sim.pictures import png


def test_others_are_served_while_a_picture_is_read() -> None:
    large = base64.b64encode(png(512)).decode()

    async def served() -> int:
        reading = asyncio.ensure_future(live.decoded(large, "logo"))
        turns = 0
        while not reading.done():
            turns += 1
            await asyncio.sleep(0)
        assert reading.result() == policy.decoded(large, "logo")
        return turns

    # Read in the loop itself it would be done by the second turn.
    assert asyncio.run(served()) > 2


def test_what_is_no_picture_is_refused_as_before() -> None:
    with pytest.raises(Invalid) as refused:
        asyncio.run(live.decoded("%%%", "logo"))

    assert refused.value.fields == {"logo": "picture_unreadable"}
