"""The procedural world: the small, exactly known reality that the miniature learns.

A `Scene` names its content (subject, colour, background, motion) and its look (domain);
rendering it gives a clip with labels, exact optical flow, occlusion, layers and edges.

=================  =============================================================
vocabulary.py      what exists, and which subject can move how
scene.py           one scene: labels and every continuous parameter, from a seed
motion.py          motion and pacing -> pose and phase of each frame
shapes.py          signed distance functions
deform.py          invertible deformations (they make the flow exact)
subjects.py        each subject as parts: shape, colour, deformation
backgrounds.py     each background as layers
render.py          scene -> buffers (albedo, part ids, depth) -> frames
domains.py         buffers -> picture in one look
flow.py            exact forward flow and occlusion
captions.py        varied wording with and without the motion
=================  =============================================================
"""
