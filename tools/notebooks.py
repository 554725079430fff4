"""Build the notebooks: `python tools/notebooks.py [FOLDER]` runs each script of notebooks/ and writes its .ipynb.

Needs what the extra `notebook` installs, and nothing else.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

import jupytext
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).resolve().parents[1] / "notebooks"
TIMEOUT_S = 600


def scripts() -> list[Path]:
    """Give the notebooks as scripts, in their order."""
    return sorted(NOTEBOOKS.glob("*.py"))


def executed(script: Path, *more_cells: str) -> Any:  # noqa: ANN401 - jupytext has no types
    """Run a script as a notebook, in a folder of its own, and give it with what it showed.

    ``more_cells`` are run behind it. Raises nbclient's CellExecutionError where a cell fails.
    """
    notebook: Any = jupytext.read(script)
    if more_cells:
        more = jupytext.reads("\n\n".join(f"# %%\n{cell}" for cell in more_cells), fmt="py:percent")
        notebook.cells += more.cells
    with tempfile.TemporaryDirectory(prefix="nwscan-notebook-") as folder:
        NotebookClient(notebook, timeout=TIMEOUT_S, resources={"metadata": {"path": folder}}).execute()
    return notebook


def main(folder: Path) -> None:
    """Write every notebook into the folder."""
    for script in scripts():
        notebook = executed(script)
        path = folder / f"{script.stem}.ipynb"
        jupytext.write(notebook, path)
        print(f"{path}: {len(notebook.cells)} cells")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else NOTEBOOKS)
