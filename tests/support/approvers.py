"""People with browsers, who sign in at a real OpenID provider and answer at the page of a gate; for blocking tests.

    with people_at(world, browser) as people:
        tab = people.tab("carol", call.path)
        tab.page.get_by_role("button", name="Approve this call").click()

Each tab is a browser of its own.  At the end none may have complained: no error, no dialog, and nothing asked of anybody
but the gate and the provider.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from playwright.sync_api import Page, ViewportSize, expect

from support.asking_gate import PASSWORDS, AskingGate, World
from support.browser import DESKTOP, PHONE, Chromium, Tab, violations

# What Tab may have to be pressed for at most to get across a page.
_MOST_STOPS: Final = 60
# As in `support.browser`.
_PATIENCE_MS: Final = 15_000


@dataclass
class People:
    """A browser, and who signed in with it where: `cookies` by where a gate's log is and the person's name."""

    world: World
    browser: Chromium
    cookies: dict[tuple[Path, str], dict[str, str]] = field(default_factory=dict)
    tabs: list[Tab] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def tab(self, name: str, path: str = "/approvals", *, gate: AskingGate | None = None, scripts: bool = True) -> Tab:
        """That person, signed in, at that page.  Whoever signed in before need not do so again."""
        gate = gate or self.world.gate
        if (gate.log, name) not in self.cookies:
            tab = self.newcomer(gate=gate)
            tab.page.goto(f"{gate.url}{path}")
            self.signs_in(tab, name)
            self.cookies[gate.log, name] = cookie_of(tab)
            if scripts:
                return tab
        tab = self.newcomer(self.cookies[gate.log, name], gate=gate, scripts=scripts)
        tab.page.goto(f"{gate.url}{path}")
        return tab

    def newcomer(
        self, cookies: dict[str, str] | None = None, *, gate: AskingGate | None = None, scripts: bool = True
    ) -> Tab:
        """A tab of a browser that remembers nothing else."""
        tab = self.browser.tab((gate or self.world.gate).url, cookies, scripts=scripts)
        self.tabs.append(tab)
        return tab

    def signs_in(self, tab: Tab, name: str) -> None:
        """At the provider, where the tab is: user name and password are typed; until the gate has it back."""
        page, issuer = tab.page, self.world.provider.issuer
        assert page.url.startswith(f"{issuer}/"), page.url
        if page.locator("input[name=login]").count():
            page.locator("input[name=login]").press_sequentially(name)
            page.keyboard.press("Enter")
        page.locator("input[name=password]").press_sequentially(PASSWORDS[name])
        page.keyboard.press("Enter")
        page.wait_for_url(f"{tab.origin}/approvals**")

    def go_home(self) -> None:
        """Close all tabs; what was wrong in them is in `complaints`."""
        asked = f"a request to {self.world.provider.issuer}/"
        for tab in self.tabs:
            self.complaints += [each for each in tab.complaints if not each.startswith(asked)]
            tab.page.context.close()
        self.tabs.clear()


def cookie_of(tab: Tab) -> dict[str, str]:
    """What makes another browser signed in as this one is."""
    found = {str(each["name"]): str(each["value"]) for each in tab.page.context.cookies(tab.origin)}
    return {"callgate": found["callgate"]}


def seen(tab: Tab, name: str) -> None:
    """Keep pictures of the page, in a window, on a phone and in the dark; axe must find nothing in any of them."""
    for looks, viewport, dark in (("dark", DESKTOP, True), ("phone", PHONE, False), ("desktop", DESKTOP, False)):
        _look(tab.page, viewport, dark=dark)
        tab.keep(f"{name}-{looks}")
    # Each width and each set of colours once.
    for viewport, dark in ((PHONE, True), (DESKTOP, False)):
        _look(tab.page, viewport, dark=dark)
        assert violations(tab.page) == [], name
        wide = tab.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        assert not wide, f"{name} has to be scrolled sideways"


def _look(page: Page, viewport: ViewportSize, *, dark: bool) -> None:
    page.set_viewport_size(viewport)
    page.emulate_media(color_scheme="dark" if dark else "light")


def tabs_to(tab: Tab, selector: str) -> None:
    """By the keyboard alone."""
    for _ in range(_MOST_STOPS):
        if tab.page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
        tab.page.keyboard.press("Tab")
    raise AssertionError(f"no way by Tab to {selector}")


def says(tab: Tab, title: str, text: str = "") -> None:
    """The page tells the person what became of the answer."""
    outcome = tab.page.locator("#outcome")
    expect(outcome.get_by_role("heading")).to_have_text(title)
    expect(outcome).to_contain_text(text)


@contextmanager
def people_at(world: World, browser: Chromium) -> Iterator[People]:
    """Everybody goes home at the end."""
    people = People(world, browser)
    expect.set_options(timeout=_PATIENCE_MS)
    try:
        yield people
    finally:
        people.go_home()
