"""What the guests boot: Debian's cloud kernel, taken out of its package without installing it, and an initramfs.

The kernel is downloaded once into a cache folder; the initramfs (busybox, the modules, guest_init.sh) is written anew
for each lab, in a few milliseconds.
"""

import gzip
import io
import lzma
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
META_PACKAGE = "linux-image-cloud-amd64"
MODULES = ("virtio_pci", "virtio_net", "8021q", "macvlan", "dummy", "bridge", "af_packet", "ipv6")
HERE = Path(__file__).resolve().parent


class GuestImageError(Exception):
    """The guests' kernel cannot be had; the text says why."""


def cache_folder() -> Path:
    """Where the unpacked kernel is kept between runs."""
    return Path(os.environ.get("NWSCAN_LAB_CACHE", PROJECT / ".lab"))


def kernel_folder() -> Path | None:
    """The unpacked kernel (vmlinuz, the modules, their order), or None before the first download."""
    folder = cache_folder() / "kernel"
    return folder if (folder / "order").is_file() else None


def fetch_kernel() -> Path:
    """Download the guests' kernel with apt and unpack what they need of it; nothing is installed."""
    if (folder := kernel_folder()) is not None:
        return folder
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix="kernel-") as name:
        work = Path(name)
        package = _kernel_package()
        _ran(["apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", package], work)
        archive = next(work.glob("*.deb"), None)
        if archive is None:
            raise GuestImageError(f"apt-get download {package} left no package behind")
        unpacked = work / "kernel"
        unpacked.mkdir()
        _unpack(archive, unpacked)
        folder = cache_folder() / "kernel"
        shutil.rmtree(folder, ignore_errors=True)
        unpacked.rename(folder)
    return folder


def write_initramfs(kernel: Path, target: Path, busybox: Path) -> None:
    """Write the guests' initramfs: a cpio archive in the kernel's "newc" format, gzipped."""
    archive = io.BytesIO()
    files: list[tuple[str, int, bytes]] = [
        ("init", 0o100755, (HERE / "guest_init.sh").read_bytes()),
        ("bin", 0o040755, b""),
        ("bin/busybox", 0o100755, busybox.read_bytes()),
        ("bin/udhcpc-script", 0o100755, (HERE / "guest_dhcp.sh").read_bytes()),
        ("modules", 0o040755, b""),
        ("modules/order", 0o100644, (kernel / "order").read_bytes()),
        *((f"modules/{path.name}", 0o100644, path.read_bytes()) for path in sorted(kernel.glob("*.ko"))),
        ("TRAILER!!!", 0, b""),
    ]
    for number, (name, mode, content) in enumerate(files, start=1):
        fields = (number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        header = b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        archive.write(header + bytes(-len(header) % 4) + content + bytes(-len(content) % 4))
    target.write_bytes(gzip.compress(archive.getvalue(), compresslevel=1))


def _kernel_package() -> str:
    depends = _ran(["apt-cache", "depends", "--important", META_PACKAGE])
    found = re.search(r"Depends: (linux-image-\S+)", depends)
    if found is None:
        raise GuestImageError(f"apt knows no package {META_PACKAGE}; run apt-get update first")
    return found.group(1)


def _unpack(archive: Path, target: Path) -> None:
    wanted: dict[str, bytes] = {}
    built_in: set[str] = set()
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE) as unpacker:
        if unpacker.stdout is None:
            raise GuestImageError("dpkg-deb gave no archive")
        with tarfile.open(fileobj=unpacker.stdout, mode="r|") as files:
            for member in files:
                path = Path(member.name)
                content = files.extractfile(member) if member.isfile() else None
                if content is None:
                    continue
                if path.name.startswith("vmlinuz-"):
                    (target / "vmlinuz").write_bytes(content.read())
                elif path.name == "modules.builtin":
                    built_in = {_module(Path(line)) for line in content.read().decode().split()}
                elif ".ko" in path.suffixes:
                    octets = content.read()
                    wanted[_module(path)] = lzma.decompress(octets) if path.suffix == ".xz" else octets
    order = list(dict.fromkeys(name for module in MODULES for name in _in_order(module, wanted, built_in)))
    for name in order:
        (target / f"{name}.ko").write_bytes(wanted[name])
    (target / "order").write_text("".join(f"{name}\n" for name in order))


def _module(path: Path) -> str:
    return path.name.partition(".")[0].replace("-", "_")


def _in_order(module: str, modules: dict[str, bytes], built_in: set[str]) -> Iterator[str]:
    """The module behind everything that its own modinfo says it depends on; built-in ones need no loading."""
    if module in built_in:
        return
    if module not in modules:
        raise GuestImageError(f"the guests' kernel has no module {module}")
    depends = re.search(rb"\0depends=([^\0]*)\0", modules[module])
    for name in depends.group(1).decode().split(",") if depends and depends.group(1) else ():
        yield from _in_order(name.replace("-", "_"), modules, built_in)
    yield module


def _ran(command: list[str], folder: Path | None = None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise GuestImageError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout
