"""The page, driven in a real browser as a person does."""

import shutil
from collections import Counter

import pytest
from conftest import needs_chromium, save

from sneakerlib.deployment import serving
from sneakerlib.learning import model_folder
from sneakerlib.scraping import browser

pytest.importorskip("fastapi", reason="serving is not installed: pip install 'sneakerlib[serve]'")
pytestmark = [
    pytest.mark.browser,
    needs_chromium,
]
DROP = """
const [kind, name, bytes] = arguments, given = new DataTransfer()
given.items.add(new File([Uint8Array.from(atob(bytes), one => one.charCodeAt())], name, {type: "image/jpeg"}))
const event = kind == "paste" ? new ClipboardEvent("paste", {clipboardData: given, bubbles: true})
                              : new DragEvent("drop", {dataTransfer: given, bubbles: true, cancelable: true})
document.body.dispatchEvent(event)
"""


@pytest.fixture(scope="module")
def server(served):
    with serving.Server(model_folder.load(served)) as running:
        yield running


@pytest.fixture(scope="module")
def started():
    with browser.chromium() as page:
        yield page


class Page:
    def __init__(self, driver, address):
        from selenium.webdriver.support.ui import WebDriverWait

        self.driver, self.wait = driver, WebDriverWait(driver, 30, 0.05)
        driver.get(address)
        self.wait.until(lambda _: "classes apart" in self.text("#about")[0])

    def text(self, selector):
        found = "return [...document.querySelectorAll(arguments[0])].map(one => one.innerText.trim())"
        return self.driver.execute_script(found, selector)

    def choose(self, *files):
        self.driver.find_element("id", "choose").send_keys("\n".join(map(str, files)))

    def answered(self, count):
        self.wait.until(lambda _: self.text("#progress") == [f"{count} of {count} answered"])

    def explained(self, count):
        shown = "return [...document.querySelectorAll('.look')].filter(one => one.checkVisibility()).length"
        self.wait.until(lambda _: self.driver.execute_script(shown) == count)

    def wide(self):
        return self.driver.execute_script("return document.documentElement.scrollWidth - innerWidth")


@pytest.fixture
def page(started, server):
    started.set_window_size(1100, 900)
    return Page(started, server.address)


@pytest.fixture
def pictures(shoes, table):
    return [shoes / path for path in table[table.split.eq("train") & table.issue.eq("")].path[:3]]


def test_three_pictures_chosen_at_once_are_answered_each(page, pictures, server):
    page.choose(*pictures)
    page.answered(3)
    assert len(page.text("article")) == 3
    for picture, heading in zip(pictures, page.text("article h2"), strict=True):
        said = server.desk.answer(picture.read_bytes())
        label = said["predictions"][0]["label"]
        assert heading == (f"Most likely: {label}" if said["sure"] else "Not sure, here are the closest")
    assert len(page.text("article:first-child .classes li")) == 3  # as many as there are, at most five
    page.wait.until(lambda _: len(page.text(".similar li")) == 9)
    page.explained(3)
    look = page.driver.find_element("css selector", ".look")
    heat = "return document.querySelector('.heat').checkVisibility()"
    assert not page.driver.execute_script(heat)
    look.click()
    assert page.driver.execute_script(heat)
    assert look.get_attribute("aria-pressed") == "true"
    assert all(page.driver.execute_script("return [...document.images].map(one => one.alt)"))
    page.driver.find_element("id", "clear").click()
    assert page.text("article") == []
    assert Counter(entry["level"] for entry in page.driver.get_log("browser")) == {}  # nothing that the policy forbade


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_a_picture_dropped_or_pasted_is_answered(page, pictures, kind):
    import base64

    page.driver.execute_script(DROP, kind, "mine.jpg", base64.b64encode(pictures[0].read_bytes()).decode())
    page.answered(1)
    assert page.text("article .file")[0].startswith("mine.jpg, ")
    assert len(page.text(".classes li")) == 3


def test_bad_and_large_files_are_explained_and_the_others_answered(page, pictures, tmp_path):
    (tmp_path / "bad.jpg").write_text("no picture")
    (tmp_path / "large.jpg").write_bytes(bytes(30_000_000))
    page.choose(tmp_path / "bad.jpg", tmp_path / "large.jpg", pictures[0])
    page.answered(3)
    assert page.text("article h2")[:2] == ["No answer", "No answer"]
    said = page.text("[role=alert]")
    assert said[0] == "this file cannot be read as a picture (not a picture): replace it or leave it out"
    assert said[1] == "This file has 30 MB, more than the 20 MB that are taken: choose a smaller one."
    assert len(page.text(".classes li")) == 3
    page.driver.get_log("browser")


def test_a_picture_that_the_model_is_not_sure_of_is_said_so(started, served, tmp_path):
    shutil.copytree(served, tmp_path / "m")
    model_folder.calibrate(tmp_path / "m", 1.0, 1.1)
    with serving.Server(tmp_path / "m") as server:
        page = Page(started, server.address)
        page.choose(save((90, 120, 200), tmp_path / "a.png"))
        page.answered(1)
        assert page.text("article h2") == ["Not sure, here are the closest"]


def test_on_a_phone_nothing_sticks_out_and_everything_can_be_reached_by_keyboard(page, pictures):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.choose(pictures[0])
        page.answered(1)
        page.explained(1)
        assert page.wide() <= 0
        reached = []
        for _ in range(6):
            ActionChains(page.driver).send_keys(Keys.TAB).perform()
            reached.append(
                page.driver.execute_script("return document.activeElement.id || document.activeElement.className")
            )
        assert {"choose", "photograph", "clear", "look"} <= set(reached)
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_description_of_the_api_is_shown(page, server):
    page.driver.get(server.address + "/docs")
    page.wait.until(lambda _: "/classify" in page.text(".opblock-summary-path"))
    assert [entry for entry in page.driver.get_log("browser") if entry["level"] == "SEVERE"] == []
