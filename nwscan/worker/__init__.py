"""The measuring worker: the only process that decodes frames, and the parent's end of its socket."""

from typing import Final

FOR_FILES: Final = "files"
"""The argument that has a worker import what files need before it is told what to do."""
