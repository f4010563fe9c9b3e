"""Training: what is asked of a network, and the loop that asks it."""
