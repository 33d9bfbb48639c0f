"""Reading a picture beside the event loop, which serves others meanwhile."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from hilum.pictures import policy
from hilum.pictures.models import Picture

_reader = ThreadPoolExecutor(1, thread_name_prefix="pictures")
"""One for each process: what is made to be encoded slowly takes no more than that."""


async def decoded(text: str, field: str) -> Picture:
    """Return the picture in a base64 text, as ``policy.decoded``. Raises Invalid."""
    return await asyncio.get_running_loop().run_in_executor(_reader, policy.decoded, text, field)


async def read(data: bytes, field: str) -> Picture:
    """Return the picture in a file, as ``policy.read``. Raises Invalid."""
    return await asyncio.get_running_loop().run_in_executor(_reader, policy.read, data, field)
