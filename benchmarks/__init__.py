"""Measurements. Nothing here is a test: times depend on the machine and on what else runs on it."""
