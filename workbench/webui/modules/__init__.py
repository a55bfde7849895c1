"""The part of the WebUI's `modules` package that extensions use."""
