"""ENTRY: HTTP from the application and from operators."""
