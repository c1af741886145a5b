"""The export: walk Klaviyo in several ranges at once, shape rows, load them, and know where it stands."""
