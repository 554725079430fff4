"""What a build gives: an sdist, and of it a wheel of three packages, compiled; nothing without a compiler."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def tracked() -> set[str]:
    """Name the files that git has."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return {name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()}


def build(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Build an sdist from a copy of the tracked files, so that nothing compiled here gets in, and a wheel from that."""
    source = folder / "source"
    for name in tracked():
        target = source / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((ROOT / name).read_bytes())
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder / "dist")]
    return subprocess.run(
        command, cwd=source, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A compiler that does not optimize: how fast the result is does not matter here, and it is there much sooner."""
    path = tmp_path_factory.mktemp("compiler") / "cc"
    path.write_text('#!/bin/sh\nexec cc "$@" -O0\n')
    path.chmod(0o755)
    return str(path)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory, compiler: str) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    done = build(folder, CC=compiler)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return next((folder / "dist").glob("*.whl"))


def test_the_wheel_was_made_of_an_sdist_that_holds_what_git_does(wheel: Path) -> None:
    with tarfile.open(next(wheel.parent.glob("*.tar.gz"))) as archive:
        names = {member.name.partition("/")[2] for member in archive if member.isfile()}
    of_ci = {name for name in tracked() if name.startswith(".ci/")}
    made = {name for name in names if name in ("PKG-INFO", "setup.cfg") or name.startswith("nwscan.egg-info/")}
    assert names - made == tracked() - of_ci


def test_the_top_level_is_exactly_three_packages(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"analyzer", "generator", "nwscan"}


def test_every_hot_module_is_compiled_in_the_wheel(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    hot = [
        str(path.relative_to(ROOT).with_suffix(""))
        for top in ("analyzer", "generator")
        for path in (ROOT / top).rglob("*.pxd")
    ]
    assert hot
    for module in hot:
        assert any(name.startswith(f"{module}.cpython-") and name.endswith(".so") for name in names), module


def test_the_samples_the_types_and_the_ebpf_object_are_in_the_wheel(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "nwscan/captures/before.pcapng" in names
    assert "nwscan/captures/MANIFEST.toml" in names
    programs = {
        f"analyzer/host/{name}.bpf.{kind}" for name in ("tap_counter", "own_counter", "flow_counter") for kind in "co"
    }
    assert programs <= set(names)
    assert {"analyzer/py.typed", "generator/py.typed", "nwscan/py.typed"} <= set(names)


def test_without_a_compiler_there_is_no_wheel(tmp_path: Path) -> None:
    done = build(tmp_path, CC="/nonexistent/cc")
    assert done.returncode != 0
    assert "/nonexistent/cc" in done.stdout + done.stderr
    assert not list((tmp_path / "dist").glob("*.whl"))


def contents(folder: Path) -> set[str]:
    """All files below a folder but for the caches that Python makes."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc"}


def test_an_installed_wheel_does_the_whole_job_and_leaves_nothing(wheel: Path, tmp_path: Path) -> None:
    """In an environment that has what nwscan needs, and nwscan from the wheel alone."""
    place = tmp_path / "environment"
    venv.create(place)
    site = next((place / "lib").glob("python*/site-packages"))
    (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")  # a path alone: no editable install of there
    before = contents(place)
    pip = [sys.executable, "-m", "pip", "--python", str(place), "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "install", "--no-index", "--no-deps", str(wheel)], check=True)
    home = tmp_path / "home"
    home.mkdir()
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home), "NWSCAN_STATE": str(home / "state")}
    where = [place / "bin/python", "-c", "import nwscan.worker.child as it; print(it.__file__)"]
    assert str(site) in subprocess.run(where, cwd=home, env=bare, capture_output=True, text=True, check=True).stdout
    done = subprocess.run(
        [place / "bin/nwscan", "demo"], cwd=home, env=bare, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "foreign unicast" in done.stdout
    assert contents(home) == set()
    subprocess.run([*pip, "uninstall", "--yes", "nwscan"], check=True)
    assert contents(place) == before


def test_the_sdist_itself_installs_into_an_empty_environment_and_leaves_nothing(
    wheel: Path, tmp_path: Path, compiler: str
) -> None:
    """As whoever has no wheel for this machine: pip gets what builds it and what it needs, and compiles."""
    (sdist,) = wheel.parent.glob("*.tar.gz")
    place, home = tmp_path / "environment", tmp_path / "home"
    venv.create(place)
    home.mkdir()
    pip = [sys.executable, "-m", "pip", "--python", str(place), "--disable-pip-version-check", "--quiet"]
    subprocess.run(
        [*pip, "install", "--no-binary", "nwscan", str(sdist)], env={**os.environ, "CC": compiler}, check=True
    )
    site = next((place / "lib").glob("python*/site-packages"))
    ours = {name for name in contents(place) if "nwscan" in name or f"{site.name}/analyzer" in name}
    assert any("analyzer/classify/decode.cpython-" in name for name in ours)
    bare = {"PATH": "/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home), "NWSCAN_STATE": str(home / "state")}
    done = subprocess.run(
        [place / "bin/nwscan", "demo"], cwd=home, env=bare, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "foreign unicast" in done.stdout
    assert contents(home) == set()
    subprocess.run([*pip, "uninstall", "--yes", "nwscan"], check=True)
    assert not {path.name for path in site.iterdir()} & {"analyzer", "generator", "nwscan"}
    assert [name for name in contents(place) if "nwscan" in name] == []
