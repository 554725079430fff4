"""From raw frames to columns and classes: compiled, batch by batch."""
