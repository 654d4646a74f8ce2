"""Diffusion theory shared by the papers.  Plain torch.

====================  ==========================================================
schedule.py           noise schedules and the forward process
parameterization.py   ε, v and z_0, each from the others
timesteps.py          which timesteps are sampled
ddim.py               one step of DDIM
inversion.py          one step backwards
dynamic_rescale.py    clean latents made smaller where there is much noise
guidance.py           one prediction out of several
noise.py              noise that frames share
windows.py            overlapping windows over long clips
drift.py              what a clip drifts away from given frames, given back to it
settings.py           settings of sampling that methods share
====================  ==========================================================
"""
