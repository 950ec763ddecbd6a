"""Headless: `runner.run` executes the notebooks into a run folder, one after another, and resumes."""
