"""Notebook 09: one loaded model answers over HTTP, a page for people and an API for programs.

`serving.serve` runs until it is stopped, `serving.Server` in a thread; `api.application` is the FastAPI application.
"""
