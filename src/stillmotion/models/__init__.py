"""Networks: finding, loading and naming their weights, on disk and in the catalogue.

registry.py finds a model by name, description.py is what is said of one, sources.py where parts
are, user_models.py and adding.py keep the user's own, loading.py is what all methods share in
loading, and decoding.py leads from latents to frames.

Formats: layouts.py and files.py tell what a file is; ldm.py, motion_files.py, lora_files.py,
controlnets.py and checkpoints.py read and write Stable Diffusion's, dynamicrafter_*.py and
open_clip.py DynamiCrafter's; pickles.py alone reads pickles, and conversions.py joins them.
"""
