"""The review queue: which images of the traffic people should label next, and what their labels say of the model."""
