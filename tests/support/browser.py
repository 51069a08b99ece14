"""A real browser, Chromium as the system has it, that tells what a page did that it should not.

    with chromium() as browser:
        tab = browser.tab("http://127.0.0.1:8444", {"callgate": cookie}, viewport=PHONE, dark=True)
        tab.page.goto("http://127.0.0.1:8444/approvals")
        assert tab.complaints == []
        assert violations(tab.page) == []

Blocking: in trio, run it in a thread (`await trio.to_thread.run_sync(…)`), whole.
"""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]  # ships no types
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Dialog,
    Page,
    Playwright,
    Request,
    ViewportSize,
    sync_playwright,
)

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
DESKTOP: Final = ViewportSize(width=1280, height=900)
# The narrowest phone that is still sold in numbers.
PHONE: Final = ViewportSize(width=360, height=740)
# Kept with a build's other output, for people to look at.
SCREENSHOTS: Final = Path(__file__).parents[2] / "build" / "screenshots"
# Other people's machines are slow; a page that is not there by then never will be.
_PATIENCE_MS: Final = 15_000
# WCAG 2.2 up to level AA, and what axe counts as good practice.
_AXE: Final = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@dataclass
class Tab:
    """One page in a browser of its own.  `complaints`: dialogs, errors, and whatever it asked of another origin."""

    page: Page
    origin: str
    complaints: list[str] = field(default_factory=list)

    def watch(self) -> None:
        page = self.page
        page.on("dialog", self._watch_dialog)
        page.on("pageerror", lambda error: self.complaints.append(f"an error: {error}"))
        page.on("console", self._watch_console)
        page.on("popup", lambda popup: self.complaints.append(f"a window: {popup.url}"))
        page.on("request", self._watch_request)

    def _watch_dialog(self, dialog: Dialog) -> None:
        self.complaints.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def _watch_console(self, said: ConsoleMessage) -> None:
        # The server's refusals are no errors of the page: whoever expects none looks at the status.
        if said.type == "error" and not said.text.startswith("Failed to load resource: the server responded"):
            self.complaints.append(f"the console: {said.text}")

    def _watch_request(self, request: Request) -> None:
        if not request.url.startswith(f"{self.origin}/"):
            self.complaints.append(f"a request to {request.url}")

    def keep(self, name: str) -> None:
        """A picture of the whole page."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


@dataclass
class Chromium:
    """A browser that runs."""

    browser: Browser

    def tab(
        self,
        origin: str,
        cookies: Mapping[str, str] | None = None,
        *,
        viewport: ViewportSize = DESKTOP,
        dark: bool = False,
        scripts: bool = True,
        bypass_csp: bool = False,
    ) -> Tab:
        """A tab whose browser has these cookies of that origin, and no other memory."""
        context = self.browser.new_context(
            viewport=viewport,
            color_scheme="dark" if dark else "light",
            java_script_enabled=scripts,
            bypass_csp=bypass_csp,
            reduced_motion="reduce",
        )
        context.set_default_timeout(_PATIENCE_MS)
        context.add_cookies([{"name": name, "value": value, "url": origin} for name, value in (cookies or {}).items()])
        tab = Tab(context.new_page(), origin)
        tab.watch()
        return tab


@contextmanager
def chromium() -> Iterator[Chromium]:
    """A browser without a window."""
    with sync_playwright() as playwright:
        # In containers its own sandbox cannot be set up; the pages are ours.
        browser = playwright.chromium.launch(executable_path=chromium_path(playwright), args=["--no-sandbox"])
        try:
            yield Chromium(browser)
        finally:
            browser.close()


def chromium_path(playwright: Playwright) -> str:
    """Where Chromium is, the system's or the one that `just browser` fetched; fails where there is none."""
    fetched = playwright.chromium.executable_path
    found = next(filter(None, map(shutil.which, _NAMES)), fetched if Path(fetched).exists() else None)
    assert found is not None, (
        f"these tests need Chromium: none of {', '.join(_NAMES)} is on the PATH, and `just browser` was not run"
    )
    return found


def violations(page: Page) -> list[str]:
    """What keeps people from using the page, as axe sees it: one line each."""
    found = Axe().run(page, options=_AXE)
    return [
        f"{each['id']}: {node['target']}: {node['failureSummary']}"
        for each in found.response["violations"]
        for node in each["nodes"]
    ]
