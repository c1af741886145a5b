"""What it does: push, pull, track, deliver, settle."""
