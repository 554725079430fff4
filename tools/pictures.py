"""Make the pictures in docs/pictures: `python tools/pictures.py`, or `make pictures`.

The page is that of the bundled captures, opened in Chromium as the tests open it. The tables of the terminal and `top`
are typed in a lab: tools/terminal_pictures.py.
"""

import contextlib
import io
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from nwscan.cli.main import main as nwscan  # noqa: E402 - the tests' browser is found from the root
from tests.nwscan.browser import Page, browser  # noqa: E402 - as above
from tools import terminal_pictures  # noqa: E402 - as above

PICTURES = ROOT / "docs/pictures"
SHOTS = {"report-light": (1000, False), "report-dark": (1000, True), "report-narrow": (400, False)}
"""The name of each picture with the width in CSS pixels, and whether dark is preferred."""
HEIGHT_PX = 1000


def page(folder: Path) -> Path:
    """Make the page of a guest before and after its filter."""
    before, after = (folder / f"{name}.json" for name in ("before", "after"))
    for path in (before, after):
        _run("analyze", ROOT / f"captures/{path.stem}.pcapng", "-o", path)
    filters, proof = folder / "filter.json", folder / "proof.json"
    filters.write_text(_run("suggest", "--from", ROOT / "captures/before.pcapng", "--json"))
    proof.write_text(_run("verify", "--before", before, "--after", after, "--json"))
    _run("report", before, filters, proof, "--html", folder / "report.html")
    return folder / "report.html"


def _run(*words: str | Path) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(io.StringIO()):
        nwscan([str(word) for word in words])
    return said.getvalue()


def main() -> None:
    """Write all pictures."""
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="nwscan-pictures-") as folder, browser() as running:
        path, shown = page(Path(folder)), Page(running)
        for name, (width_px, is_dark) in SHOTS.items():
            shown.show(path, width_px, dark=is_dark, height_px=HEIGHT_PX)
            picture = PICTURES / f"{name}.png"
            picture.write_bytes(shown.screenshot(whole=False))
            _tell(picture)
    for picture in terminal_pictures.make(PICTURES, ROOT / "captures"):
        _tell(picture)


def _tell(picture: Path) -> None:
    print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size} octets")


if __name__ == "__main__":
    main()
