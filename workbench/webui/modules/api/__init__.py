"""The WebUI's HTTP API."""
