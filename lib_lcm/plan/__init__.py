"""Every decision about one generation, from plain data to plain data."""
