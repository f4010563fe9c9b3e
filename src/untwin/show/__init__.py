"""Show it: figures and the report."""
