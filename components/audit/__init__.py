"""Audit a dataset: near-duplicates, probable label errors and outliers."""
