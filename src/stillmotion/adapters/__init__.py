"""Reversible changes of a network at named places.

`adapter.py` is the contract; `diffusers_sites.py` knows where the places are in diffusers.
"""
