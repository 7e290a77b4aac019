"""The HTTP endpoints: decode, `predict`, encode. Depends on Starlette, not on BentoML."""
