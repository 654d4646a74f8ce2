"""Stills and clips: reading them, writing them, and the record of how each was made.

images.py      stills in and out
clips.py       clips in and out, by file name; one module per family of formats beside it
provenance.py  the record that every output carries
"""
