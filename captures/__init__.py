"""Small sample captures of one guest, before and after a filter; MANIFEST.toml says what is in each."""
