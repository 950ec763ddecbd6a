"""A real browser that nobody sees: it reads pages that show more as one scrolls, and photographs our own page."""

import io
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from sneakerlib import InputError
from sneakerlib.scraping.manners import AGENT, FetchError

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SWITCHES = ("headless=new", "window-size=1280,2000", "disable-dev-shm-usage", "disable-component-update", "mute-audio")
LOAD = 30  # seconds for a page to load, or to show its answers
PATIENCE = 5  # seconds for something new to appear after scrolling or pressing
SMALLEST = 64  # pixels: below are icons
MORE = re.compile(  # the whole text of the button: "Read more" leads elsewhere
    r"\W*((load|show|see|view|get)?\s*more(\s+(results|images|pictures|photos))?"
    r"|mehr (anzeigen|laden|ergebnisse|bilder)|weitere \w+"
    r"|(voir|afficher) plus|plus de \w+|ver más|(mostrar )?más \w+|mostra altro)\W*",
    re.IGNORECASE,
)
PRESSABLE = "button, a, [role=button], input[type=button], input[type=submit]"
# Every picture that has loaded or names where it is, and what is said about it.
PICTURES = """
return [...document.images].map(image => [
    image.currentSrc || image.src || image.dataset.src || "", (image.closest("a") || {}).href || location.href,
    image.alt || "", image.naturalWidth, image.naturalHeight])
"""


def installed() -> tuple[str, str]:
    """The system's Chromium and its driver; raises InputError if one of them is missing, or Selenium."""
    binary, driver = next(filter(None, map(shutil.which, NAMES)), None), shutil.which("chromedriver")
    if not binary or not driver:
        raise InputError("a browser needs Chromium and its driver: apt install chromium chromium-driver")
    if not find_spec("selenium"):
        raise InputError("a browser needs selenium: pip install 'sneakerlib[scrape]'")
    return binary, driver


@contextmanager
def chromium():
    """Start Chromium without a window; yields Selenium's driver. Raises as `installed`, or if it does not start."""
    binary, driver = installed()
    from selenium import webdriver
    from selenium.common.exceptions import WebDriverException

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    root = hasattr(os, "geteuid") and os.geteuid() == 0  # Chromium refuses to start for root in its sandbox
    for switch in (*SWITCHES, *["no-sandbox"] * root):
        options.add_argument(f"--{switch}")
    try:
        browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
    except WebDriverException as error:
        raise InputError(f"Chromium does not start ({_reason(error)}): try `chromium --headless`") from None
    try:
        agent = browser.execute_script("return navigator.userAgent").replace("Headless", "")
        browser.execute_cdp_cmd("Network.setUserAgentOverride", {"userAgent": f"{agent} {AGENT}"})
        browser.set_page_load_timeout(LOAD)
        yield browser
    finally:
        browser.quit()


def pictures(address: str, pause: float = 1.0) -> Iterator[tuple[str, str, str, int, int]]:
    """Scroll through a page, press its "more results", and stop when nothing new comes or nobody asks for more.

    Yields per picture its address, the page it links to, its description, width and height in pixels; `pause` is in
    seconds, between two looks. Raises FetchError if the page does not load, else as `installed`.
    """
    from selenium.common.exceptions import WebDriverException

    with chromium() as browser:
        seen, pressed = set(), False
        try:
            browser.get(address)
            while True:
                fresh = _fresh(browser, seen, pause)
                seen |= {row[0] for row in fresh}
                yield from map(tuple, fresh)
                if not fresh and (pressed or not _press_more(browser)):
                    return
                pressed = not fresh
                browser.execute_script("window.scrollTo(0, document.body.scrollHeight)")
        except WebDriverException as error:
            raise FetchError(address, f"does not load in the browser ({_reason(error)})", "try again later") from None


def _fresh(browser, seen: set, pause: float) -> list:
    """Pictures not seen yet; waits for some to come."""
    deadline = time.monotonic() + PATIENCE
    while True:
        time.sleep(pause / 4)
        rows = {row[0]: row for row in browser.execute_script(PICTURES) if row[0].startswith("http")}
        rows = [row for url, row in rows.items() if url not in seen and (min(row[3:]) >= SMALLEST or not row[3])]
        if rows or time.monotonic() > deadline:
            return rows


def _press_more(browser) -> bool:
    """Press the button that promises more; False if there is none."""
    for element in browser.find_elements("css selector", PRESSABLE):
        text = element.text or element.get_attribute("value") or element.get_attribute("aria-label") or ""
        if MORE.fullmatch(text) and element.is_displayed() and element.is_enabled():
            browser.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].click()", element)
            return True
    return False


def _reason(error) -> str:
    return (error.msg or "no reason given").splitlines()[0][:80]


def photograph(address: str, files: list[str | Path]) -> Image.Image:
    """Choose pictures on the page of a `serving.Server` as a person would, and photograph the page when all is shown.

    Args:
        address: Of the server.
        files: Paths of the pictures.

    Raises:
        InputError: If Chromium or its driver is missing, or the answers do not come within 30 seconds.
    """
    with chromium() as page:
        page.set_window_size(1000, 1420)
        page.get(address)
        page.find_element("id", "choose").send_keys("\n".join(str(Path(file).resolve()) for file in files))
        deadline = time.monotonic() + LOAD
        while len(page.find_elements("css selector", "article[data-done]")) < len(files):  # explained as far as can be
            if time.monotonic() > deadline:
                raise InputError(f"{address} has not answered within {LOAD} s: look at it in a browser")
            time.sleep(0.1)
        page.execute_script("document.querySelectorAll('.look').forEach(one => one.click())")
        return Image.open(io.BytesIO(page.get_screenshot_as_png())).convert("RGB")
