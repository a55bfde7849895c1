"""The samplers in the WebUI."""
