"""Measuring what is made.

=================  =============================================================
metrics/           what is measured, one file each: pure functions
extractors/        the networks whose features the metrics compare
benchmark/         runs of the papers' protocols: cases, methods, clips, scores
report/            tables, plots and galleries of runs
study/             user studies: the page, and what the answers say
intervals.py       confidence intervals
workers.py         work spread over processes
sheets.py          clips as pictures, for pages
comparison.py      paired tests between two methods
samples.py         which prompts and seeds are measured: held out from training
measure.py         one sample of each task: make it, judge it
run.py             many samples, in several processes, resumable
card.py            the miniature's model card
ablation.py        the rows of AnimateZero's Fig. 6 as numbers
features.py        the features that are measured: what each asks of the pipeline
feature_clips.py   one sample of each feature
feature_table.py   all samples of the features, and the table
video_measure.py   one clip of a DynamiCrafter model, judged
video_card.py      the cards of the miniature's DynamiCrafter models
cards.py           which card a model has
video_ablation.py  DynamiCrafter's Table 4 and Fig. 5b as numbers
video_settings.py  what its settings do to a clip
memory.py          what the memory presets need
=================  =============================================================
"""
