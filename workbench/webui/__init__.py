"""The embedded WebUI. This folder goes on `sys.path`, so that extensions import `modules.*` and `networks` as
in a WebUI.
"""
