"""What we believe: physics, constraints, losses, and the Problem that joins them to a pattern."""
