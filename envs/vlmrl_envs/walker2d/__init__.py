"""A world."""
