"""Notebook 01: pictures from search services, politely, within limits, with their source and licence.

`collect.collect` is the way in, `searchterms.read` reads what to look for, `sources` has one small class per service,
`web.content` asks for one address.
"""
