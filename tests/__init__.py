"""The tests, and the lab that some of them run in."""
