"""A page that is open in the browser, and what went wrong in it."""

from dataclasses import dataclass, field

from playwright.sync_api import Page

EVIL = "</script><script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
LOCAL = ("file:", "data:", "blob:")


@dataclass
class Opened:
    """A page, and what went wrong in it."""

    page: Page
    faults: list[str] = field(default_factory=list)
    """Messages and errors of the console, and requests that left the page."""

    def watch(self) -> None:
        """Note every fault from now on."""
        page, note = self.page, self.faults.append
        page.on("console", lambda said: note(f"console {said.type}: {said.text}"))
        page.on("pageerror", lambda error: note(f"error: {error}"))
        page.on(
            "request",
            lambda sent: None if sent.url.startswith(LOCAL) else note(f"asked {sent.url}"),
        )
