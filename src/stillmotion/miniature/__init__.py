"""The miniature: small, truly trained models of the world, and how they are made.

==================  ============================================================
recipe.py           every size and budget
data.py             rendered stills and clips
vae.py              stage "vae"
clip.py             stage "clip": tokenizer, text and image towers
text_to_image.py    stages "text-to-image" and "domains"
motion.py           stage "motion"
control.py          stage "control"
preview.py          the map from latents to colours that previews use
judge.py            stage "judge": classifiers that read generated pictures
stages.py           each stage from data to saved part
video.py            clips of every look, for DynamiCrafter's stages
video_stages.py     DynamiCrafter's stages, on the same run folder
video_ablations.py  its ablations, trained on the text-to-video model
train.py            runs stages, resumable
package.py          a run folder to the shipped folder `weights/`
video_package.py    DynamiCrafter's models within it
unpack.py           a package to the beginning of a run folder
weights/            what ships: a Hugging Face folder tree, and its model card
==================  ============================================================
"""
