"""Reversible changes of a network at named places.

`adapter.py` is the contract; `diffusers_sites.py`, `diffusers_unet3d.py` and
`diffusers_schedulers.py` know where the places are in diffusers.  The `lean_*.py` leave out work
that changes nothing; `lean_savings.py` lists them.
"""
