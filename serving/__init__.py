"""The HTTP endpoints: decode, `predict`, encode. Knows Starlette, not BentoML."""
