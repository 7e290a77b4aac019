"""Other servers for the same model, for benchmarks/serve.py."""
