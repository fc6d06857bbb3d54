"""Runs on disk: folders, events, status, locks, and the processes that work on them; no torch."""
