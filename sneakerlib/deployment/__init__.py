"""Notebook 09: one loaded model answers over HTTP, a page for people and an API for programs.

`serving.Server` runs in a thread, `serving.serve` until it is stopped; `serving.demo` is a button that does without.
"""
