"""A page that shows a run while it goes on, and after it has ended: untwin watch."""
