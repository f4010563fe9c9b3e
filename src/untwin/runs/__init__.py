"""What is done with the methods: many starts, plans, checkpoints, solutions and their folders."""
