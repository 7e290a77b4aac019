"""Other ways to serve the same model, for benchmarks/serve.py: each a module with an ASGI application named `app`."""
