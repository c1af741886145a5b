"""What happens on a topic."""
