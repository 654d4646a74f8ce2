"""Stills and clips: reading them, writing them, and the record of how each was made.

images.py          stills in and out, and what all formats made by Pillow share
clips.py           clips in and out: the format follows from the name
still.py           a still: a picture and the latents of its drawing
pixels.py          between decoded tensors and pixels
lost_detail.py     what a VAE lost of a picture, given back to the frames around it
fit.py             pictures of any size brought to one that a model takes
container.py       what a format must offer, and its limits
video.py           mp4 and webm
animation.py       gif and webp
picture_folder.py  a folder of PNG frames
tensors.py         safetensors
reading.py         frames of any clip that a user may bring
transitions.py     shots joined to a film: cuts, crossfades, fades through black
chapters.py        chapters of a film as WebVTT
cut_short.py       videos that were cut short
control_maps.py    what a ControlNet is shown of each frame
provenance.py      the record that every output carries
"""
