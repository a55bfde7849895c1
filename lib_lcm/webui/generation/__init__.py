"""One generation with LCM in the WebUI."""
