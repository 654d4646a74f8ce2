"""Diffusion theory shared by the papers: schedules and guidance.  Plain torch."""
