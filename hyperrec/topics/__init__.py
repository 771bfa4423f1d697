"""The engine: arrays in, topic distributions out. It knows vertices and edges, not users or items."""
