"""Runs the real commands and renews what the documents show of them: pictures, and text under `<!-- run: ... -->`.

The page is photographed by Chromium, if there is one.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import skimage
from PIL import Image

ROOT = Path(__file__).parents[1]
PICTURES = ROOT / "docs" / "pictures"
SAYWHY = Path(sys.executable).with_name("saywhy")
SHOWN = re.compile(r"(<!-- run: (saywhy .*?) -->\n```text\n)(.*?)(```)", re.DOTALL)


def run(command: str, folder: Path) -> str:
    """What `saywhy ...` prints, run in the folder."""
    arguments = [str(SAYWHY), *shlex.split(command)[1:]]
    return subprocess.run(arguments, cwd=folder, check=True, capture_output=True, text=True).stdout


def renew(document: Path, folder: Path) -> None:
    """Runs the commands that a document shows and puts what they print under them."""
    text = document.read_text(encoding="utf-8")
    new = SHOWN.sub(lambda m: m[1] + run(m[2], folder).rstrip() + "\n" + m[4], text)
    document.write_text(new, encoding="utf-8")


def smaller(source: Path, target: Path, width: int) -> None:
    """A JPEG of a picture."""
    image = Image.open(source).convert("RGB")
    image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    image.save(target, quality=88, optimize=True, subsampling=0)


def photograph(page: Path, target: Path) -> None:
    """The page as Chromium shows it on a desk."""
    chromium = shutil.which("chromium")
    if chromium is None:
        print("no chromium here: docs/pictures/page.jpg is left as it is")
        return
    shot = page.with_suffix(".shot.png")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-device-scale-factor=1.5"]
    command = [chromium, *options, "--window-size=1280,1250", f"--screenshot={shot}", page.as_uri()]
    subprocess.run(command, check=True, capture_output=True)
    smaller(shot, target, 1280)


def main() -> None:
    """Renews everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for photo in ("chelsea.png", "rocket.jpg", "coffee.png"):
            shutil.copy(Path(skimage.__file__).parent / "data" / photo, folder)
        run("saywhy explain chelsea.png -o demo --quiet", folder)
        PICTURES.mkdir(exist_ok=True)
        smaller(folder / "demo" / "chelsea.png", PICTURES / "panel.jpg", 1204)
        photograph(folder / "demo" / "chelsea.html", PICTURES / "page.jpg")
        for document in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
            renew(document, folder)


if __name__ == "__main__":
    main()
