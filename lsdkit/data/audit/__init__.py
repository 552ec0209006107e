"""What is in a store, and what of it could make a score wrong: measured, ranked and drawn; nothing is changed."""
