"""Preferences: which of two clips is closer to the goal; asked once, kept, and learned from.

Data flows one way: segments of rollouts, pairs, answers of a labeller kept in a store, a reward fitted to them.
"""
