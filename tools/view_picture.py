"""Takes docs/images/view.jpg: `flowface view` in a real browser.

    make demo && flowface replay out/demo/demo.mcap --rig-frame rig --out replay.mcap
    pip install playwright "flowface-ros[view]"; apt-get install chromium
    python tools/view_picture.py out/demo/demo.mcap replay.mcap

Without a GPU the browser draws on the CPU: --wait must then be minutes.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

OUT = Path(__file__).parents[1] / "docs/images/view.jpg"
WIDTH, HEIGHT = 1500, 900
TIME_SLIDER, TIME_HEIGHT = (266, 1294), 28
"""Where the time line is: its ends from the left, its height at the bottom, pixels."""
JPEG_QUALITY = 85
RATE_HZ = 15
CHROMIUM_OPTIONS = (
    *("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader"),
    *("--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"),
)
"""WebGL without a GPU."""


def picture(url: str, moment: float, wait_s: float) -> np.ndarray:
    """The page, BGR, after some time, paused at a share of the recording."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(CHROMIUM_OPTIONS))
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="dark")
        page.goto(url)
        page.wait_for_timeout(1000 * wait_s)
        left, right = TIME_SLIDER
        page.mouse.click(left + moment * (right - left), HEIGHT - TIME_HEIGHT / 2)
        page.keyboard.press("Space")
        page.wait_for_timeout(1000 * wait_s / 4)
        data = page.screenshot(timeout=1000 * max(60.0, wait_s))
        browser.close()
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))


def serve(bags: list[Path]) -> subprocess.Popen[str]:
    """`flowface view` of bags."""
    options = ["--no-browser", "--rate", str(RATE_HZ)]
    command: list[Any] = [sys.executable, "-m", "flowface_ros.cli", "view", *bags, *options]
    return subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, text=True)


def main() -> None:
    """Writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bags", nargs="+", type=Path)
    parser.add_argument("--wait", type=float, default=120.0, help="seconds (default: 120)")
    parser.add_argument("--moment", type=float, default=0.53, help="share of the recording")
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    with serve(args.bags) as view:
        try:
            assert view.stdout is not None
            found = re.search(r"http://\S+", view.stdout.readline())
            if found is None:
                raise SystemExit("flowface view gave no address")
            shown = picture(found.group(), args.moment, args.wait)
        finally:
            view.terminate()
    cv2.imwrite(str(args.out), shown, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    print(f"wrote {args.out}, {args.out.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
