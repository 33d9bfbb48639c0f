"""The public figure K2, computed once an hour by each worker: it reads many rows, and anybody may request it."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from hilum.foundation.infra.context import Trace
from hilum.foundation.infra.unit_of_work import UnitOfWork
from hilum.review.defects import service
from hilum.review.defects.models import Leakage

MADE_EVERY = timedelta(hours=1)


@dataclass(slots=True)
class PublicFigures:
    """K2 as last computed."""

    uow: UnitOfWork
    _made: tuple[datetime, Leakage] | None = None
    _making: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def read(self, trace: Trace) -> tuple[datetime, Leakage]:
        """Return the figure, and when it was computed."""
        # One at a time: however many requests wait, it is computed once.
        async with self._making:
            now = self.uow.clock.now()
            if self._made is None or now - self._made[0] >= MADE_EVERY:
                self._made = now, await self.uow.read(service.view_figures, trace=trace)
            return self._made
