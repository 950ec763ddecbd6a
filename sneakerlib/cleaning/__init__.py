"""Notebook 02: what is wrong with a picture folder, what to do about it, and copies for small classes.

`audit.audit` finds, `audit.apply` sets aside and groups twins, `audit.prepare` does both and splits; `augment.write`
fills up small classes. How it is found: `look` (one picture), `twins` (pairs), `off_topic` (strangers).
"""
