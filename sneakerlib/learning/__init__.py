"""Notebooks 03 and 04: networks, what they say of pictures, heads, whole trainings by name, the model folder.

`recipes.train` trains, `model_folder.load` loads what it wrote; `backbones.backbone` and `networks` build.
"""
