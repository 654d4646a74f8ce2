"""Benchmarks: every method makes a clip of the same cases, and all are scored alike.

====================  ==========================================================================
folder.py             the run folder: manifest, cases, samples
manifest.py           a run's manifest: put together, and held against an older one
cases.py              cases of the procedural world
prompts.py            lists of prompts, among them the one that comes with the package
named_prompts.py      prompts that are said of files
real_clips.py         real clips as cases: chosen by lot, and cut
clip_layouts.py       where UCF-101, MSR-VTT and other folders have their clips and words
clips.py              clips that another tool made
methods.py            what a method is
registry.py           the methods that there are, those of plug-ins among them
own_methods.py        AnimateZero with Fig. 6's rows, DynamiCrafter, the picture at rest
diffusers_methods.py  PIA, SVD, I2VGen-XL and SparseCtrl through diffusers
animatezero.py        AnimateZero's benchmark: stills drawn from words
dynamicrafter.py      DynamiCrafter's benchmark: first frames of real clips
plans.py              from what a user asks for to the plan of a run
making.py             makes and scores what a run lacks, in several processes
scoring.py            all metrics of one clip
vbench.py             a run's clips under the names that VBench reads
====================  ==========================================================================
"""
