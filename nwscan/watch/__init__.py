"""The process that waits for a change to be confirmed, watches the guest meanwhile, and rolls back."""
