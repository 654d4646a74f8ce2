"""Clips to train on: one's own, listed by a manifest or packed in tar shards, or the world's.

Every source is a map: a number and a generator give a sample, and nothing else does.  So a batch
follows from (seed, step, rank), whatever the number of workers, and to resume is to ask for the
next step.

==================  ============================================================
samples.py          what a source gives: `ClipSample`, and batches of them
timing.py           which frames are shown: stride, start, presentation time
rows.py             one listed clip, and what can be wrong with its entry
manifest.py         CSV and JSON lines
shards.py           tar shards in WebDataset's layout, read by index
decode.py           frames of one clip by number, with their times
files.py            listed clips as a source
world.py            the procedural world as a source
skipping.py         unusable clips replaced by others, and named
reading.py          samples read by worker processes
loading.py          batches by step and rank, each clip once in an epoch
drawing.py          batches by the training loop's generators
checking.py         a whole list read, and all that is wrong with it
==================  ============================================================
"""
