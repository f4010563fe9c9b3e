"""Networks, trained and not: they know nothing of phase retrieval; and the files that weights lie in."""
