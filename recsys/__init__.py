"""Proposes: fits a model on past events, and composes it with the boundary into one scoring call."""
