"""Figures of merit: pure functions from texts to scores."""
