"""The verbs as functions: they wire the doors to the logic, return values, and print nothing."""
