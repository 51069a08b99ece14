"""Embedded defaults for development and the demo."""
