"""Measuring what is made.

===========  ===================================================================
steps.py     how evenly a clip moves, from the sizes of its steps
intervals.py confidence intervals
samples.py   which prompts and seeds are measured: held out from training
measure.py   one sample of each task: make it, judge it
run.py       many samples, in several processes, resumable
card.py      the miniature's model card
ablation.py  the rows of AnimateZero's Fig. 6 as numbers
memory.py    what the memory presets need
===========  ===================================================================
"""
