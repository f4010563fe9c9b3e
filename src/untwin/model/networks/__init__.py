"""Networks: plain torch modules, which know nothing of phase retrieval; and the files that their weights lie in."""
