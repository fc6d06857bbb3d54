"""Learning: training the reference, and the L step."""
