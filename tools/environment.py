"""The virtual environment .venv of the project, with everything in it, and the compiled modules.

A step is done again only when what it depends on has changed: its stamp in .venv holds the hash of that.
"""

import hashlib
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
VENV = PROJECT / ".venv"
PYTHON = VENV / "bin" / "python"


def make_environment() -> bool:
    """Create and fill .venv, build the modules. False if libvirt-python cannot be built here and was left out."""
    if shutil.which("gcc") is None:
        raise SystemExit("nwscan has compiled modules and gcc is not installed: install gcc and python3-dev.")
    with_libvirt = _can_build_libvirt()
    extras = "dev" if with_libvirt else ""
    key = _hash([PROJECT / "pyproject.toml"], f"{sys.version} {sys.prefix} {extras}")
    if not _is_done("installed", key):
        _install(extras)
        _stamp("installed", key)
        _stamp("built", _build_key(key))  # pip has just compiled them
    if not (_is_done("built", _build_key(key)) and all(_built(path) for path in _typed_modules())):
        print("Building the compiled modules ...", flush=True)
        _run([PYTHON, "setup.py", "--quiet", "build_ext", "--inplace"])
        _stamp("built", _build_key(key))
    return with_libvirt


def _build_key(install_key: str) -> str:
    hot = [path.with_suffix(suffix) for path in _typed_modules() for suffix in (".pxd", ".py")]
    headers = sorted((PROJECT / "analyzer").rglob("*.h"))
    return _hash([PROJECT / "setup.py", *headers, *hot], install_key)


def _install(extras: str) -> None:
    print(f"Making the virtual environment {VENV} ...", flush=True)
    if not PYTHON.exists() or subprocess.run([PYTHON, "-c", "import pip"], check=False).returncode != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        _run([sys.executable, "-m", "venv", VENV])
    with (PROJECT / "pyproject.toml").open("rb") as file:
        requirements = tomllib.load(file)["build-system"]["requires"]
    pip: list[str | Path] = [PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    _run([*pip, *requirements])
    target = f"{PROJECT}[{extras}]" if extras else str(PROJECT)
    _run([*pip, "--no-build-isolation", "--editable", target])


def _run(command: list[str | Path]) -> None:
    done = subprocess.run(
        command, cwd=PROJECT, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        print(done.stdout)
        raise SystemExit(f"{' '.join(map(str, command))} failed (exit {done.returncode}).")


def _can_build_libvirt() -> bool:
    if shutil.which("pkg-config") is None:
        return False
    return subprocess.run(["pkg-config", "--exists", "libvirt"], check=False).returncode == 0


def _typed_modules() -> list[Path]:
    return sorted(path for top in ("analyzer", "generator") for path in (PROJECT / top).rglob("*.pxd"))


def _built(types: Path) -> bool:
    return any(types.parent.glob(f"{types.stem}.*.so"))


def _hash(files: list[Path], *words: str) -> str:
    digest = hashlib.sha256("\0".join(words).encode())
    for path in files:
        digest.update(path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


def _is_done(step: str, key: str) -> bool:
    stamp = VENV / f"nwscan-{step}"
    return stamp.is_file() and stamp.read_text() == key


def _stamp(step: str, key: str) -> None:
    (VENV / f"nwscan-{step}").write_text(key)
