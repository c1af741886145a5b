"""ENTRY: the clock and the queue."""
