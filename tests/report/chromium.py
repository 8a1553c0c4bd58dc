"""A headless Chromium, driven over a pipe by its own protocol: no driver, no port, no other package."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

PATH = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), "")
"""The browser of this machine; empty where there is none."""

_SILENCE_S = 60


class Chromium:
    """One browser with one tab; what went wrong or left the page is kept."""

    def __init__(self, profile: Path) -> None:
        theirs, ours = os.pipe(), os.pipe()
        # The browser reads at 3 and writes at 4: out of their way first.
        reads, writes = (fcntl.fcntl(fd, fcntl.F_DUPFD, 10) for fd in (theirs[0], ours[1]))
        os.close(theirs[0])
        os.close(ours[1])

        def place() -> None:
            os.dup2(reads, 3)
            os.dup2(writes, 4)

        self.process = subprocess.Popen(
            [
                PATH, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                "--no-first-run", "--disable-dev-shm-usage", "--remote-debugging-pipe", "--hide-scrollbars",
                f"--user-data-dir={profile}", "about:blank",
            ],
            preexec_fn=place, pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,  # noqa: PLW1509
        )  # fmt: skip
        os.close(reads)
        os.close(writes)
        self._out, self._in = theirs[1], ours[0]
        self._left, self._count = b"", 0
        self.events: list[dict[str, Any]] = []
        self.session = ""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._out)
        os.close(self._in)

    def send(self, method: str, **params: Any) -> Any:
        """Ask the browser for something and wait for its answer."""
        self._count += 1
        message = {"id": self._count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._count:
                assert "error" not in answer, (method, answer["error"])
                return answer["result"]
            self.events.append(answer)

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            part = os.read(self._in, 1 << 20)
            assert part, "the browser went away"
            self._left += part
        one, _, self._left = self._left.partition(b"\0")
        found: dict[str, Any] = json.loads(one)
        return found

    def open(self, page: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a page at a width; forgets what happened on the one before."""
        self.resize(width, height, dark)
        self.events.clear()
        self.send("Page.navigate", url=page.as_uri())
        self.until("document.readyState === 'complete' && location.protocol === 'file:'")

    def resize(self, width: int, height: int = 900, dark: bool = False) -> None:
        """Size of the window in CSS pixels, and whether the reader likes it dark."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[feature])

    def run(self, script: str) -> Any:
        """Value of an expression on the page; promises are waited for."""
        answer = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + _SILENCE_S
        while not self.run(script):
            assert time.monotonic() < end, f"never true: {script}"
            time.sleep(0.02)

    def mouse(self, kind: str, x: float, y: float) -> None:
        """`Moved`, `Pressed` or `Released` at a place of the window."""
        button = {} if kind == "Moved" else {"button": "left", "clickCount": 1}
        self.send("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **button)

    def key(self, key: str) -> None:
        """Press a key and let it go."""
        codes = {"Enter": 13, "Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        press = {"key": key, "code": key, "windowsVirtualKeyCode": codes.get(key, 0)}
        self.send("Input.dispatchKeyEvent", type="keyDown", **press, **({"text": text} if text else {}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **press)

    def picture(self, path: Path, selector: str = "") -> None:
        """Save a screenshot of the window, or of one element in view."""
        if selector:
            self.run(f"document.querySelector({selector!r}).scrollIntoView({{block: 'start', behavior: 'instant'}})")
            time.sleep(0.2)
        path.write_bytes(base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"]))

    def trouble(self) -> list[str]:
        """Errors on the console, exceptions, and requests that left the page."""
        found = []
        for event in self.events:
            what, params = event.get("method", ""), event.get("params", {})
            if what == "Runtime.exceptionThrown":
                found.append(str(params["exceptionDetails"]))
            elif (what == "Log.entryAdded" and params["entry"]["level"] == "error") or (
                what == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert")
            ):
                found.append(str(params))
            elif what == "Network.requestWillBeSent":
                url = params["request"]["url"]
                if not url.startswith(("data:", "file:")):
                    found.append(f"request to {url[:200]}")
        return found
