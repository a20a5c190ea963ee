"""A page as a reader meets it: what it says, what it asks of whom, how wide it is."""

from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Page

LAPTOP, PHONE = (1366, 768), (390, 844)
_READY = "[data-testid=stApp][data-test-script-state=notRunning]"
# Streamlit looks for itself below the path of the page first; it finds itself one level up.
_LOOKS_FOR_ITSELF = ("/_stcore/health", "/_stcore/host-config")


@dataclass
class Visit:
    """One page in one width."""

    page: Page
    url: str
    name: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def open(self, size: tuple[int, int]) -> str:
        """Open the page and return what it says, with plain spaces."""
        self.listen()
        self.page.set_viewport_size({"width": size[0], "height": size[1]})
        self.page.goto(f"{self.url}/{self.name}")
        self.page.wait_for_selector(f"{_READY} h1", timeout=60_000)
        self.page.wait_for_function(
            "document.querySelectorAll('[data-testid=stSkeleton]').length === 0", timeout=60_000
        )
        return self.text()

    def listen(self) -> None:
        """Note from now on what goes wrong and who is asked."""
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self._follow(request.url))

    def text(self) -> str:
        """Return what the page says, closed sections too, with plain spaces."""
        return str(self.page.inner_text("[data-testid=stMain]")).replace("\N{NO-BREAK SPACE}", " ")

    def is_too_wide(self) -> bool:
        """Say whether a reader has to scroll sideways."""
        return bool(
            self.page.evaluate(
                "[document.documentElement, document.querySelector('[data-testid=stMain]')]"
                ".some(e => e.scrollWidth > e.clientWidth)"
            )
        )

    def keep(self, folder: Path) -> None:
        """Keep a screenshot of the whole page."""
        width = self.page.viewport_size["width"] if self.page.viewport_size else 0
        height = self.page.evaluate("document.querySelector('[data-testid=stMain]').scrollHeight")
        self.page.set_viewport_size({"width": width, "height": min(max(int(height), 700), 6000)})
        self.page.wait_for_timeout(300)
        self.page.screenshot(path=folder / f"{self.name}-{width}.png")

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type != "error":
            return
        if "404" in message.text and urlsplit(message.location.get("url", "")).path.endswith(
            _LOOKS_FOR_ITSELF
        ):
            return
        self.errors.append(f"{message.text} {message.location}")

    def _follow(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            self.foreign.append(url)
