"""The command line's face: progress on stderr, tables for a person."""
