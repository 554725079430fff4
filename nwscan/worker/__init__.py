"""The measuring worker: the only process that decodes frames, and the parent's end of its socket."""
