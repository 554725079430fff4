"""Programs that fail, are not there, or do not end."""

from pathlib import Path

import pytest

from analyzer.errors import HostError
from analyzer.host import programs


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(programs, "_SYSTEM_PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def install(folder: Path, name: str, script: str) -> None:
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_what_it_prints(folder: Path) -> None:
    install(folder, "ip", 'echo "$LC_ALL:$1:$2"')
    assert programs.run_program("ip", "a b", "$HOME;x") == "C:a b:$HOME;x\n"


def test_octets_that_are_no_text_do_not_stop_it(folder: Path) -> None:
    install(folder, "ip", r"printf 'a\377b'")
    assert programs.run_program("ip") == "a\ufffdb"


def test_nothing_of_our_environment_or_input_reaches_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "1")
    install(folder, "ip", 'cat; echo "[$SECRET]"')
    assert programs.run_program("ip") == "[]\n"


def test_one_that_is_not_installed_names_its_package(folder: Path) -> None:
    assert programs.program_path("ebtables-save-of-nobody") is None
    with pytest.raises(HostError) as caught:
        programs.run_program("no-such-program")
    assert caught.value.hint == "install no-such-program"
    assert folder.exists()


def test_one_that_fails_says_why(folder: Path) -> None:
    install(folder, "nft", 'echo "Error: first" >&2; echo more >&2; exit 3')
    with pytest.raises(programs.ProgramFailedError) as caught:
        programs.run_program("nft", "list")
    assert caught.value.what == "nft failed: Error: first"
    assert caught.value.where == "nft list"
    assert caught.value.output == "Error: first\nmore"


def test_one_that_fails_without_a_word(folder: Path) -> None:
    install(folder, "nft", "exit 3")
    with pytest.raises(programs.ProgramFailedError, match="exit status 3"):
        programs.run_program("nft")


def test_one_that_is_not_permitted_hints_at_the_capability(folder: Path) -> None:
    install(folder, "nft", 'echo "Operation not permitted (you must be root)" >&2; exit 1')
    with pytest.raises(programs.ProgramFailedError) as caught:
        programs.run_program("nft")
    assert "CAP_NET_ADMIN" in caught.value.hint


def test_one_that_does_not_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_TIMEOUT_S", 0.05)
    install(folder, "nft", "exec sleep 60")
    with pytest.raises(HostError, match="did not answer"):
        programs.run_program("nft")


def test_one_that_cannot_be_run(folder: Path) -> None:
    (folder / "nft").write_text("no program")
    (folder / "nft").chmod(0o755)
    with pytest.raises(HostError, match="cannot run nft"):
        programs.run_program("nft")
