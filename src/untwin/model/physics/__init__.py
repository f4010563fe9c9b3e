"""The physics: what a detector reads from an object."""
