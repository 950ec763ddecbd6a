"""Notebook 06: labels that are probably wrong, what speaks for and against them, and what somebody decides.

`suspects.find` lists them, `evidence.Evidence` shows what speaks for which class, `widget.ReviewGrid` takes decisions,
`corrections.apply` brings them back into the catalog.
"""
