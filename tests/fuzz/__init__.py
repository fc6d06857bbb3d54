"""Hostile and broken input, by the thousand."""
