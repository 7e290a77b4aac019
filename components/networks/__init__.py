"""Frozen networks that turn a photo into a vector: where they come from, and how they are run."""
