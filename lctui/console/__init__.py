"""The terminal application: shows, edits, starts and compares runs; trains nothing and never loads torch."""
