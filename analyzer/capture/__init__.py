"""From octets to raw frames: live taps and capture files, one protocol for all sources."""
