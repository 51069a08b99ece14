"""What is remembered: a log of every request that nobody can quietly change, and what of a session passed the gate."""
