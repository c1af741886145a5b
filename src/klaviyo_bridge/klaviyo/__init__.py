"""What Klaviyo means, and the only code that calls it."""
