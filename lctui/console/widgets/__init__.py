"""Widgets of the console that know nothing of runs or schemes."""
