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
memory.py          what the memory presets need
=================  =============================================================
"""
