"""Debian's Chromium without a window, driven over a pipe by its DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--remote-debugging-pipe",
)


class Browser:
    """One tab. `messages` are what its console said; `requests`, the addresses that it asked for."""

    def __init__(self, profile: Path) -> None:
        (theirs, self.to), (self.back, answers) = os.pipe(), os.pipe()
        flags = [*FLAGS, f"--user-data-dir={profile}", "about:blank"]
        # The protocol is spoken on descriptors 3 and 4.
        words = ["bash", "-c", f'exec "$@" 3<&{theirs} 4>&{answers} 2>/dev/null', "chromium", str(CHROMIUM), *flags]
        self.process = subprocess.Popen(words, pass_fds=(theirs, answers))
        os.close(theirs)
        os.close(answers)
        self.number, self.rest, self.session = 0, b"", None
        self.messages: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.to)
        os.close(self.back)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while (answer := self.receive()).get("id") != self.number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def receive(self) -> dict[str, Any]:
        while b"\0" not in self.rest:
            read = os.read(self.back, 1 << 16)
            if not read:
                raise RuntimeError("Chromium has ended")
            self.rest += read
        line, _, self.rest = self.rest.partition(b"\0")
        message = json.loads(line)
        params = message.get("params", {})
        if message.get("method") in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.messages.append(json.dumps(params))
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        return message

    def open(self, page: str, width: int, scheme: str = "light") -> None:
        """Show the page at an address, this many pixels wide, in the `light` or `dark` colour scheme."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=page)
        while self.receive().get("method") != "Page.loadEventFired":
            pass

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression, or of its promise."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def press(self, key: str) -> None:
        code = {"Tab": 9, "Enter": 13, "ArrowUp": 38, "ArrowDown": 40}[key]
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    def screenshot(self, path: Path, height: int) -> None:
        """The uppermost `height` pixels of the page, as PNG."""
        size = self.run("[innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": size[0], "height": min(height, size[1]), "scale": 1}
        taken = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(taken["data"]))


POOR_CONTRAST = """(() => {
  const parts = (colour) => [...colour.match(/[\\d.]+/g).map(Number), 1].slice(0, 4);
  const over = (top, below) => [0, 1, 2].map((i) => top[3] * top[i] + (1 - top[3]) * below[i]).concat(1);
  const above = (node) => node ? [node, ...above(node.parentElement)] : [];
  const behind = (node) => above(node).map((e) => parts(getComputedStyle(e).backgroundColor))
    .reduceRight((below, top) => over(top, below), [255, 255, 255, 1]);
  const linear = (value) => value <= 0.04045 * 255 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4;
  const bright = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ratio = (a, b) => (Math.max(bright(a), bright(b)) + 0.05) / (Math.min(bright(a), bright(b)) + 0.05);
  const poor = [];
  const check = (node, what, colour, back, least) => {
    const ink = parts(colour);
    ink[3] *= above(node).reduce((product, e) => product * getComputedStyle(e).opacity, 1);
    const found = ratio(over(ink, back), back);
    if (found < least - 0.005) poor.push(`${what}: ${found.toFixed(2)}`);
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement, text = texts.currentNode.data.trim(), style = getComputedStyle(node);
    const drawn = node instanceof SVGElement;  // a stored figure is a picture; a chart of Plotly's is text
    const shown = node.checkVisibility({ visibilityProperty: true, opacityProperty: true });
    if (!text || !shown || (drawn && !node.closest(".main-svg"))) continue;
    const large = parseFloat(style.fontSize) >= 24;
    check(node, text.slice(0, 40), drawn ? style.fill : style.color, behind(node), large ? 3 : 4.5);
  }
  for (const node of document.querySelectorAll("select, button:not([hidden])")) {
    const style = getComputedStyle(node);
    if (style.borderTopStyle !== "none" && parseFloat(style.borderTopWidth))
      check(node, `edge of ${node.id}`, style.borderTopColor, behind(node.parentElement), 3);
  }
  return poor;
})()"""
"""Text and edges of controls whose contrast is below that of WCAG 2.2, AA (1.4.3 and 1.4.11)."""
