"""Notebook 02: what is wrong with a picture folder, what to do about it, and copies for small classes.

`audit.audit` finds, `audit.apply` sets aside, `audit.prepare` does both and splits; `augment.write` fills up classes.
"""
