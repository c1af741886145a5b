"""Keeps an application database and Klaviyo in step."""
