"""The routes under /lcm/v1."""
