"""What a benchmark tells: a figure, its target, and whether it was reached."""

from dataclasses import dataclass, field


@dataclass
class Figure:
    """``value`` is the ratio or time that the target is about; ``parts`` explain where it comes from."""

    id: str
    what: str
    value: float
    shown: str
    target: str
    reached: bool
    parts: list[str] = field(default_factory=list)
