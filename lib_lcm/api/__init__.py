"""What the routes under /lcm/v1 read and write."""
