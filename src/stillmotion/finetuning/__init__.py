"""DynamiCrafter's stages on clips of one's own: where the paper and the training loop meet.

The paper says what a stage is and how its networks are made (`dynamicrafter`), the loop knows no
paper (`training`); this folder leads from a model folder and a list of clips to the next folder.

==================  ============================================================
run.py              `train_stage`: one stage, from start to finish
request.py          what is trained, from what, on what, how, and to where
starts.py           what lies in a folder, and which stage can begin with it
beginnings.py       the networks that a stage begins with, from folders
source.py           clips as the paper's loss wants them: latents, texts, pictures
results.py          the folder that a stage leaves, and what is said of its run
==================  ============================================================
"""
