"""The training loop: it knows optimisation, checkpoints and time, but no model and no paper.

==================  ============================================================
loop.py             one loop for every stage: budget, schedule, EMA, resume
checkpoint.py       atomic checkpoints that hold everything needed to go on
interrupts.py       Ctrl-C and SIGTERM wait for the end of a step
ema.py              exponential moving average of the weights
low_rank.py         low-rank adapters trained in place, saved as a diffusers LoRA
==================  ============================================================
"""
