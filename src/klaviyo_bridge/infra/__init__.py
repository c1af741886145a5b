"""Infrastructure: things with a connection string."""
