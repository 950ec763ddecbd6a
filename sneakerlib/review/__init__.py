"""Notebook 06: labels that are probably wrong, what speaks for and against them, and what somebody decides.

`review.suspects` finds, `grid.ReviewGrid` shows, `corrections.apply` brings decisions back into the catalog.
"""
