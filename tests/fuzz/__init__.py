"""Coverage-guided fuzzing of the readers and the decoder: `python -m tests.fuzz TARGET --seconds N`, or `make fuzz`."""
