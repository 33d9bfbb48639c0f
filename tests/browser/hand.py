"""How long a person needs for what they do with their hands, whatever the speed of the machine.

Source: Card, Moran and Newell, "The keystroke-level model for user performance time with interactive systems", CACM 23 (1980): a key
of an average typist 0.2 s, pointing 1.1 s, a press of the mouse's button 0.2 s, a hand from keyboard to mouse 0.4 s, a thought before an act 1.35 s.
"""

from dataclasses import dataclass

from playwright.sync_api import Locator, Page

KEY_S, POINT_S, BUTTON_S, HOME_S, THINK_S = 0.2, 1.1, 0.2, 0.4, 1.35


@dataclass
class Hand:
    """Somebody's hands at a page; ``seconds`` is what they took, for so many ``clicks`` and ``keys``."""

    page: Page
    seconds: float = 0.0
    at_keyboard: bool = True
    clicks: int = 0
    keys: int = 0

    def click(self, what: Locator, *, anticipated: bool = False) -> None:
        """Think, point and press. ``anticipated``: it follows from the act before, so there is nothing to think about (the paper's rule 1)."""
        self.seconds += (
            (0.0 if anticipated else THINK_S) + (HOME_S if self.at_keyboard else 0.0) + POINT_S + BUTTON_S
        )
        self.at_keyboard = False
        self.clicks += 1
        what.click()

    def type(self, text: str) -> None:
        """Type where the focus is."""
        self.seconds += (0.0 if self.at_keyboard else HOME_S) + KEY_S * len(text)
        self.at_keyboard = True
        self.keys += len(text)
        self.page.keyboard.type(text)

    def press(self, key: str) -> None:
        """Press one key, or two together (``Control+Enter``)."""
        pressed = 1 + key.count("+")
        self.seconds += (0.0 if self.at_keyboard else HOME_S) + KEY_S * pressed
        self.at_keyboard = True
        self.keys += pressed
        self.page.keyboard.press(key)

    def think(self) -> None:
        """Read what the page says before the next act."""
        self.seconds += THINK_S
