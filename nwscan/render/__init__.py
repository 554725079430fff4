"""How results look: terminal, text, plots."""
