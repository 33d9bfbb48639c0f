"""Several acts at one moment."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from hilum.foundation.kernel.errors import HilumError


def at_once(*acts: Any) -> list[Any]:
    """Do several things at one moment, and return the result or the error of each."""

    def tried(act: Any) -> Any:
        try:
            return act()
        except HilumError as error:
            return error

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(tried, acts))
