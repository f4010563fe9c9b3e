"""What a plan is made of: one file per stage."""
