"""Measuring what is made.

=================  =============================================================
steps.py           how evenly a clip moves, from the sizes of its steps
regularity.py      ratios of the step sizes
colour.py          saturation and its drift
flow.py            flow magnitude, by OpenCV
edge_agreement.py  how well outlines follow those that were asked for
intervals.py       confidence intervals
samples.py         which prompts and seeds are measured: held out from training
measure.py         one sample of each task: make it, judge it
run.py             many samples, in several processes, resumable
card.py            the miniature's model card
ablation.py        the rows of AnimateZero's Fig. 6 as numbers
features.py        the features that are measured: what each asks of the pipeline
feature_clips.py   one sample of each feature
feature_table.py   all samples of the features, and the table
distances.py       Frechet and kernel distance between sets of features
video_measure.py   one clip of a DynamiCrafter model, judged
video_card.py      the cards of the miniature's DynamiCrafter models
cards.py           which card a model has
video_ablation.py  DynamiCrafter's Table 4 and Fig. 5b as numbers
video_settings.py  what its settings do to a clip
memory.py          what the memory presets need
=================  =============================================================
"""
