"""What a run shows of itself while it goes on, in small files that others may read; and what they may ask of it. Nothing here draws."""
