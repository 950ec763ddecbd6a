"""The embedded sample: drawn sneakers with every kind of dirt that a real folder has, and the truth about them.

`dataset.make` draws a folder, `dataset.planted` and `dataset.truly` judge by the truth; `loopback.search_service` is
an image search over it. `drawing` knows the shoe models, `sheet` paints them, `studio` photographs them.
"""
