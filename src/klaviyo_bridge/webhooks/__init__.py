"""ENTRY: HTTP from Klaviyo."""
