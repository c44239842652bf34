"""Headless Chromium through chromedriver (W3C WebDriver over HTTP, standard library only), for pages in files."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
MISSING = "needs chromium and chromedriver (Debian: apt-get install chromium chromium-driver)"
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--proxy-server=127.0.0.1:9",  # nothing listens there: whatever a page asks the network for fails
)
STARTED = "was started successfully on port "
TIMEOUT = 120  # seconds
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the WebDriver standard's key of an element


class Browser:
    """One window."""

    def __init__(self, session: str) -> None:
        self.session = session

    def open(self, page: Path) -> None:
        """Go to a file and wait until its script is done."""
        self._post("/url", {"url": page.as_uri()})
        self.wait("return 'ready' in document.documentElement.dataset")

    def run_async(self, script: str) -> Any:
        """Run the body of a function in the page and return what it hands to its argument, a callback."""
        return self._post("/execute/async", {"script": script, "args": []})

    def wait(self, condition: str, seconds: float = 30) -> None:
        """Wait until a script returns true; raises AssertionError when it does not."""
        wait = f"""const done = arguments[0], end = performance.now() + {1000 * seconds};
        (function look() {{
            if ((() => {{ {condition} }})()) done(true);
            else if (performance.now() > end) done(false);
            else setTimeout(look, 20);
        }})()"""
        assert self.run_async(wait), f"not within {seconds} s: {condition}"

    def run(self, script: str, *args: Any) -> Any:
        """Run the body of a function in the page and return its result."""
        return self._post("/execute/sync", {"script": script, "args": list(args)})

    def texts(self, selector: str) -> list[str]:
        """Return the text of each element that a selector finds, as written."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent.trim())", selector
        )
        return found

    def click(self, selector: str) -> None:
        """Click the middle of the first element found, as a person would: it must not be covered."""
        self.run("document.querySelector(arguments[0]).scrollIntoView({block: 'center'})", selector)
        element = self._post("/element", {"using": "css selector", "value": selector})[ELEMENT]
        self._post(f"/element/{element}/click", {})

    def press(self, selector: str) -> None:
        """Press the mouse in the middle of the first element found, whatever lies there."""
        script = """const element = document.querySelector(arguments[0]);
        element.scrollIntoView({block: 'center'});
        const box = element.getBoundingClientRect();
        return [box.x + box.width / 2, box.y + box.height / 2]"""
        x, y = self.run(script, selector)
        for kind in ("mousePressed", "mouseReleased"):
            event = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
            self.cdp("Input.dispatchMouseEvent", event)

    def keys(self, selector: str, text: str) -> None:
        """Type into the first element found; special keys are WebDriver's private characters."""
        element = self._post("/element", {"using": "css selector", "value": selector})[ELEMENT]
        self._post(f"/element/{element}/value", {"text": text})

    def cdp(self, command: str, parameters: Mapping[str, Any]) -> Any:
        """Send a command of the DevTools protocol."""
        return self._post("/goog/cdp/execute", {"cmd": command, "params": dict(parameters)})

    def resize(self, width: int, height: int = 900) -> None:
        """Give the page a size in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.cdp("Emulation.setDeviceMetricsOverride", size)

    def media(self, *, scheme: str = "light", kind: str = "") -> None:
        """Pretend that the reader prefers light or dark, or that the medium is print."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.cdp("Emulation.setEmulatedMedia", {"media": kind, "features": features})

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """Write the window, or the whole page, as PNG."""
        shot = self.cdp("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole})
        path.write_bytes(base64.b64decode(shot["data"]))

    def pdf(self) -> bytes:
        """Return the page as it would be printed on A4."""
        paper = {"page": {"width": 21.0, "height": 29.7}, "background": True}
        return base64.b64decode(self._post("/print", paper))

    def complaints(self) -> list[str]:
        """Return warnings and errors of the console since the last call."""
        return [entry["message"] for entry in self._post("/se/log", {"type": "browser"})]

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        return _send(f"{self.session}{path}", "POST", body)


@contextmanager
def browser() -> Iterator[Browser]:
    """Yield a new window with an empty profile; everything is gone afterwards."""
    assert CHROMIUM, MISSING
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, _driver() as address:
        options = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        new = _send(f"{address}/session", "POST", {"capabilities": {"alwaysMatch": wanted}})
        session = f"{address}/session/{new['sessionId']}"
        _send(f"{session}/timeouts", "POST", {"script": 1000 * TIMEOUT})
        try:
            yield Browser(session)
        finally:
            _send(session, "DELETE")


@contextmanager
def _driver() -> Iterator[str]:
    """Run chromedriver on a free port and yield its address."""
    assert CHROMEDRIVER, MISSING
    command: Sequence[str] = (CHROMEDRIVER, "--port=0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            line = next((line for line in process.stdout if STARTED in line), None)
            assert line, "chromedriver did not start"
            yield f"http://127.0.0.1:{line.partition(STARTED)[2].strip().rstrip('.')}"
        finally:
            process.terminate()


def _send(url: str, method: str, body: Mapping[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        with error:
            said = json.load(error)["value"]["message"]
    raise AssertionError(said)
