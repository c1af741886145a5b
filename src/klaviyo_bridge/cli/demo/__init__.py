"""The demo: a simulated Klaviyo, a small shop, and the bridge between them."""
