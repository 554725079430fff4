"""Build the site of the documentation into site/: `python tools/site.py`, or `make site`.

The pages are those of docs/ and the ones at the top, which also read well where they lie. What no builder of sites can
know of them is put right in a copy: links that lead out of docs/, and the kinds of blocks that the tests type.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = "build/site-pages"
"""Where the copy lies; mkdocs.yml names it, too."""
TOP = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
}
"""The pages at the top of the project, and what they are called on the site."""
SCHEMAS = "nwscan/schemas"
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)#:\s]+)(#[^)\s]*)?\)")
_FENCE = {"```console lab": "```console", "```commands": "```text"}


def sources() -> dict[str, str]:
    """Give each file of the site: where it lies in the project, and its place on the site."""
    own = [path for path in sorted((ROOT / "docs").rglob("*")) if path.is_file()]
    schemas = sorted((ROOT / SCHEMAS).glob("*.json"))
    placed = {str(path.relative_to(ROOT)): str(path.relative_to(ROOT / "docs")) for path in own}
    return TOP | placed | {str(path.relative_to(ROOT)): f"schemas/{path.name}" for path in schemas}


def assemble(pages: Path) -> None:
    """Write the pages as the builder wants them into this folder, which is made anew."""
    shutil.rmtree(pages, ignore_errors=True)
    places = sources()
    for source, place in places.items():
        (pages / place).parent.mkdir(parents=True, exist_ok=True)
        if source.endswith(".md"):
            text = (ROOT / source).read_text(encoding="utf-8")
            (pages / place).write_text(adapted(text, source, places), encoding="utf-8")
        else:
            shutil.copyfile(ROOT / source, pages / place)


def adapted(text: str, source: str, places: dict[str, str]) -> str:
    """Give a page's text with its links led to their places on the site; what is not there is named without a link."""

    def lead(found: re.Match[str]) -> str:
        target = os.path.normpath(Path(source).parent / found[3])
        if (ROOT / target / "README.md").is_file():
            target += "/README.md"
        if target not in places:
            return found[2]
        to = os.path.relpath(places[target], Path(places[source]).parent)
        return f"{found[1]}[{found[2]}]({to}{found[4] or ''})"

    lines = (_FENCE.get(line, line) for line in text.splitlines())
    return _LINK.sub(lead, "\n".join(lines) + "\n")


def build(site: Path) -> int:
    """Build the site into this folder; gives the exit code of mkdocs, for which each warning is an error."""
    assemble(ROOT / PAGES)
    # Not --quiet: it would keep warnings from the count of --strict, too.
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)]
    env = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, check=False, env=env, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr, end="")
    return done.returncode


if __name__ == "__main__":
    code = build(ROOT / "site")
    if code == 0:
        print("site/index.html")
    sys.exit(code)
