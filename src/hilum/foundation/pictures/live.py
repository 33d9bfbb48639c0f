"""Decode pictures in a thread, so that the event loop is not blocked."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from hilum.foundation.pictures import policy
from hilum.foundation.pictures.models import Picture

_reader = ThreadPoolExecutor(1, thread_name_prefix="pictures")
"""One thread for each process: pictures made to be slow cannot take more."""


async def decoded(text: str, field: str) -> Picture:
    """Return the picture in a base64 text, as ``policy.decoded``. Raises Invalid."""
    return await asyncio.get_running_loop().run_in_executor(_reader, policy.decoded, text, field)


async def read(data: bytes, field: str) -> Picture:
    """Return the picture in a file, as ``policy.read``. Raises Invalid."""
    return await asyncio.get_running_loop().run_in_executor(_reader, policy.read, data, field)
