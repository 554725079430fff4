"""Values only: addresses, identities, frames, classes, windows."""
