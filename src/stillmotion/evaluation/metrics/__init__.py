"""The metrics: pure functions of pixels, flows and features, which know no network.

=====================  =========================================================================
catalogue.py           every metric by its key: title, unit, direction, source
fidelity.py            I1-MSE, PSNR, the error as 8-bit arithmetic returns it, end-frame error
warping.py             warping error
flow_fields.py         the flow of a clip, what it hides, pictures moved along it
flow.py                motion magnitude
smoothness.py          motion smoothness
cosine.py              cosines between features
text_similarity.py     Text-Sim, which is CLIP-SIM
domain_similarity.py   Domain-Sim
style.py               Style-Dist
input_conformity.py    PIC, and CLIP's similarity to the picture
distances.py           FVD and KVD, of whichever features
set_intervals.py       intervals of these distances
steps.py               how evenly a clip moves, from the sizes of its steps
regularity.py          ratios of the step sizes; how well a loop closes
flicker.py             mean step
colour.py              saturation and brightness, and their drift
edge_agreement.py      how well outlines follow those that were asked for
ranks.py               user studies: mean ranks, preference and selection rates, Borda counts
bradley_terry.py       strengths from comparisons in pairs
agreement.py           how far raters agree: Kendall's W, Krippendorff's alpha
=====================  =========================================================================

Pictures are uint8 (f h w 3) for metrics of pixels and, as in `extractors.interface`, uint8
(f 3 h w) for those that need flow; features are tensors with one row for each frame or clip.
"""
