"""From classes to a report: counted, merged, stored, viewed."""
