"""A real browser that nobody sees: it reads pages that show more as one scrolls, and photographs our own page."""

import io
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from PIL import Image

from sneakerlib import InputError
from sneakerlib.scraping.addresses import FetchError
from sneakerlib.scraping.politeness import AGENT

LOAD, PATIENCE = 30, 5  # seconds for a page to load; for something new to appear after scrolling or pressing
SMALLEST = 64  # pixels: below are icons
MORE = re.compile(  # the whole text of the button: "Read more" leads elsewhere
    r"\W*((load|show|see|view|get)?\s*more(\s+(results|images|pictures|photos))?"
    r"|mehr (anzeigen|laden|ergebnisse|bilder)|weitere \w+"
    r"|(voir|afficher) plus|plus de \w+|ver más|(mostrar )?más \w+|mostra altro)\W*",
    re.IGNORECASE,
)
# Every picture that has loaded or names where it is, and what is said about it.
PICTURES = """
return [...document.images].map(image => [
    image.currentSrc || image.src || image.dataset.src || "", (image.closest("a") || {}).href || location.href,
    image.alt || "", image.naturalWidth, image.naturalHeight])
"""
# How many pictures have been answered, and explained as far as they can be.
EXPLAINED = "return document.querySelectorAll('article[data-done]').length"
PRESSABLE = "button, a, [role=button], input[type=button], input[type=submit]"


def installed() -> tuple[str, str]:
    """The system's Chromium and its driver.

    Raises:
        InputError: If one of them is missing, or Selenium.
    """
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    binary, driver = next(filter(None, map(shutil.which, names)), None), shutil.which("chromedriver")
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

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for switch in ("headless=new", "disable-gpu", "disable-dev-shm-usage", "no-first-run", "disable-sync"):
            options.add_argument(f"--{switch}")
        for switch in ("disable-background-networking", "disable-component-update", "mute-audio", "disable-quic"):
            options.add_argument(f"--{switch}")
        options.add_argument("--window-size=1280,2000")
        options.add_argument(f"--user-data-dir={profile}")
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            options.add_argument("--no-sandbox")  # Chromium refuses to start for root otherwise
        try:
            browser = webdriver.Chrome(options, webdriver.ChromeService(driver))
        except WebDriverException as error:
            reason = (error.msg or "no reason given").splitlines()[0]
            raise InputError(f"Chromium does not start ({reason}): try `chromium --headless`") from None
        try:
            agent = browser.execute_script("return navigator.userAgent").replace("Headless", "")
            browser.execute_cdp_cmd("Network.setUserAgentOverride", {"userAgent": f"{agent} {AGENT}"})
            browser.set_page_load_timeout(LOAD)
            yield browser
        finally:
            browser.quit()


def pictures(address: str, limit: int, pause: float = 1.0) -> Iterator[tuple[str, str, str, int, int]]:
    """Scroll through a page, press its "more results", and stop when nothing new comes.

    Args:
        address: Of the page.
        limit: Pictures at the most.
        pause: Seconds between two looks at the page. Defaults to 1.

    Yields:
        Per picture its address, the page it links to, its description, width and height in pixels.

    Raises:
        FetchError: If the page does not load.
        InputError: See `installed`.
    """
    from selenium.common.exceptions import WebDriverException

    with chromium() as browser:
        seen, pressed = set(), False
        try:
            browser.get(address)
            while True:
                fresh = _fresh(browser, seen, pause)
                for row in fresh[: limit - len(seen)]:
                    seen.add(row[0])
                    yield tuple(row)
                if len(seen) >= limit or (not fresh and pressed):
                    return
                pressed = not fresh
                if pressed and not _press_more(browser):
                    return
                browser.execute_script("window.scrollTo(0, document.body.scrollHeight)")
        except WebDriverException as error:
            reason = (error.msg or "no reason given").splitlines()[0][:80]
            raise FetchError(address, f"does not load in the browser ({reason})", "try again later") from None


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
    from selenium.webdriver.common.by import By

    for element in browser.find_elements(By.CSS_SELECTOR, PRESSABLE):
        text = element.text or element.get_attribute("value") or element.get_attribute("aria-label") or ""
        if MORE.fullmatch(text) and element.is_displayed() and element.is_enabled():
            browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
            browser.execute_script("arguments[0].click()", element)
            return True
    return False


def photograph(address: str, files: list, width: int = 1000, height: int = 1000, seconds: float = 30) -> Image.Image:
    """Choose pictures on the page of a `serving.Server` as a person would, and photograph the page when all is shown.

    Args:
        address: Of the server.
        files: Paths of the pictures.
        width: Of the window, in pixels. Defaults to 1000.
        height: Of the window, in pixels. Defaults to 1000.
        seconds: To wait for the answers. Defaults to 30.

    Raises:
        InputError: If Chromium or its driver is missing, or the answers do not come.
    """
    with chromium() as page:
        page.set_window_size(width, height)
        page.get(address)
        page.find_element("id", "choose").send_keys("\n".join(str(Path(file).resolve()) for file in files))
        deadline = time.monotonic() + seconds
        while page.execute_script(EXPLAINED) < len(files):
            if time.monotonic() > deadline:
                raise InputError(f"{address} has not answered within {seconds:g} s: look at it in a browser")
            time.sleep(0.1)
        page.execute_script("document.querySelectorAll('.look').forEach(one => one.click())")
        return Image.open(io.BytesIO(page.get_screenshot_as_png())).convert("RGB")
