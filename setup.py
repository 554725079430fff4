"""Build the hot modules: plain Python files, compiled by Cython with the types in the .pxd beside each.

A build without a compiler fails: there is no slow wheel.
"""

import os
from pathlib import Path

import numpy as np
from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup

HOT = sorted(path.with_suffix(".py") for top in ("analyzer", "generator") for path in Path(top).rglob("*.pxd"))

HEADERS = ["analyzer/octets.h", "analyzer/capture/page_guard.h"]

INLINE = ("--param=max-inline-insns-auto=400", "--param=inline-unit-growth=400")
"""Small functions of the inner loops take memoryviews by value: called, each would copy 200 octets a frame."""

setup(
    # the samples lie at the top of the repository and are installed inside nwscan: one source, no copy
    packages=[*find_packages(include=["analyzer*", "generator*", "nwscan*"]), "nwscan.captures"],
    package_dir={"nwscan.captures": "captures"},
    ext_modules=cythonize(
        [
            Extension(
                ".".join(path.with_suffix("").parts),
                [str(path)],
                include_dirs=[".", np.get_include()],
                depends=HEADERS,
                define_macros=[("NPY_NO_DEPRECATED_API", "NPY_1_7_API_VERSION")],
                extra_compile_args=["-O3", "-fno-strict-aliasing", *INLINE],
            )
            for path in HOT
        ],
        nthreads=os.cpu_count() or 1,
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "embedsignature": True,
            "annotation_typing": False,  # the types stand in the .pxd; annotations are for people and mypy
        },
    ),
    options={"build_ext": {"parallel": os.cpu_count() or 1}},
)
