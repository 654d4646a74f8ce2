"""AnimateZero (arXiv:2312.03793): a still drawn by a text-to-image model becomes a video.

Where to find what the paper says:

=====================  ======================================  ================================
paper                  what                                    file
=====================  ======================================  ================================
3.2, Eq. 1-3           positions, projections, attention       attention.py
4, Fig. 3 step 1       the still and its latents z_T..z_0      sampling.py, ../media/still.py
4.1                    spatial appearance control              spatial_control.py
4.2, A.2, Eq. 4-9      temporal consistency control            temporal_control.py
5.4, Fig. 6            the rows (a)-(e) as settings            settings.py (FIG6_ROWS)
B, Eq. 10              one denoising step                      sampling.py
B, Eq. 11              time travel                             time_travel.py
C.1                    editing with a ControlNet               guide.py
C.2, Fig. 9            first and last frame                    windows.py
C.3                    photographs                             photograph.py
project page           texts along a clip                      prompt.py
=====================  ======================================  ================================

Not in the paper: no jump at frame 2 (`diffusion/drift.py`), `pacing.py` (an even pace between two
ends), clips longer than a window (`windows.py`), `memory.py` and `memory_needs.py`
(small GPUs), `preview.py`.

`control.py` turns settings into adapters, `pipeline.py` is the door for users, `arguments.py` and
`requests.py` are what they ask for, `checks.py` says early what cannot work.  What the paper leaves
open, or misprints, is settled in docs/decisions/0002-animatezero-ambiguities.md.
"""
