"""A Klaviyo to run at home."""
