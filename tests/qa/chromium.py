"""A real browser without a window, for the tests of the page."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.qa.serving import PATIENCE

_OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # root has none
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=1280,900",
)


class Page:
    """A tab of the browser, and what a reader of the page does in it."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        """Load a page anew, also one of which only the part behind # differs."""
        self.driver.get("about:blank")
        self.driver.get(address)

    def js(self, code: str, *arguments: Any) -> Any:
        """Return what a piece of JavaScript returns."""
        return self.driver.execute_script(code, *arguments)

    def text(self, selector: str) -> str:
        """Return the text of the first element, as it is shown; empty if there is none."""
        return str(self.js("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def texts(self, selector: str) -> list[str]:
        """Return the text of each element that is shown."""
        code = (
            "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility()).map(e => e.innerText)"
        )
        return list(self.js(code, selector))

    def is_shown(self, selector: str) -> bool:
        """Return whether there is such an element to be seen."""
        return bool(self.js("return document.querySelector(arguments[0])?.checkVisibility() ?? false", selector))

    def click(self, selector: str) -> None:
        """Click on the first such element with the mouse, once it is there."""
        from selenium.webdriver.common.by import By

        self.wait(lambda: self.is_shown(selector))
        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def press(self, *keys: str) -> None:
        """Press keys, one after the other, wherever the focus is."""
        from selenium.webdriver.common.action_chains import ActionChains

        actions = ActionChains(self.driver)
        for key in keys:
            actions.send_keys(key)
        actions.perform()

    def wait(self, condition: Callable[[], object]) -> None:
        """Wait until a condition holds."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, self.text("body")
            time.sleep(0.02)

    def ask(self, address: str, question: str) -> None:
        """Open the page with a question and wait for what comes of it."""
        from urllib.parse import quote

        self.open(f"{address}#q={quote(question)}")
        self.wait(self.is_answered)

    def is_answered(self) -> bool:
        """Return whether the page shows an answer, or that there is none."""
        return (
            self.is_shown(".answer, .failed")
            and self.js("return document.querySelector('.result').ariaBusy") == "false"
        )

    def emulate(self, *, width: int = 1280, height: int = 900, **features: str) -> None:
        """Be of another size, and have other wishes, such as `prefers_color_scheme="dark"`."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        wishes = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wishes})

    def complaints(self) -> list[str]:
        """Return what the browser has to say against the page since this was asked last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """Start a browser that keeps its files in `folder`; skip the test where there is none, but never in CI."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    driver_program = shutil.which("chromedriver")
    if not program or not driver_program:
        reason = "needs a browser: apt-get install chromium chromium-driver"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = program
    for option in (*_OPTIONS, f"--user-data-dir={folder}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(driver_program))
    try:
        yield Page(driver)
    finally:
        driver.quit()
