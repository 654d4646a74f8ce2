"""The training loop: it knows optimisation, checkpoints and time, but no model and no paper.

==================  ============================================================
loop.py             one loop for every stage: budget, schedule, EMA, resume
stage.py            what a stage offers to the loop
settings.py         how long and how to optimise
processes.py        one process, several GPUs, several machines (accelerate)
sharding.py         networks shared out over processes (FSDP2), and whole again
checkpoint.py       atomic checkpoints that hold everything needed to go on
interrupts.py       Ctrl-C and SIGTERM wait for the end of a step
clips/              clips to train on: one's own, or the world's
ema.py              exponential moving average of the weights
low_rank.py         low-rank adapters trained in place, saved as a diffusers LoRA
==================  ============================================================
"""
