"""How an image is parametrised: pixels, untrained networks, two of them. Frozen descriptions; who fits them owns their numbers."""
