"""Load the uncompiled twin of a compiled module: the same file, run by Python."""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import EXTENSION_SUFFIXES, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType

ROOT = Path(__file__).parents[1]


def load_interpreted(name: str) -> ModuleType:
    """Give module ``name`` (``analyzer.classify.decode``) as Python runs it, under another name, loaded once."""
    alias = f"interpreted.{name}"
    if alias not in sys.modules:
        path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
        loader = SourceFileLoader(alias, str(path))
        spec = importlib.util.spec_from_file_location(alias, path, loader=loader)
        assert spec is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[alias] = module
        loader.exec_module(module)
    return sys.modules[alias]


def is_compiled(module: ModuleType) -> bool:
    """Say whether ``module`` came out of the C compiler."""
    return str(module.__file__).endswith(tuple(EXTENSION_SUFFIXES))
