"""How we get there: states, algorithms, recipes, the one loop, many starts."""
