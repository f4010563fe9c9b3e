"""What was measured: from a file to a Pattern, and back to a file. NumPy only; nothing here needs torch."""
