"""Fused kernels: what a GPU would otherwise do in several passes over memory, in one.

Each is one public function that chooses between a plain PyTorch form and an operator
`stillmotion::...`, which is a Triton kernel on CUDA and has no contents on the meta device.

=============================  ==========================================  ===================
function                       what it computes                            kernel
=============================  ==========================================  ===================
`temporal.temporal_attention`  attention over frames through a map         `triton_temporal`
`pointwise.geglu`              GEGLU without its projection                `triton_pointwise`
`norms.group_norm_silu`        GroupNorm of x + time embedding, then SiLU  `triton_group_norm`
`norms.add_layer_norm`         the residual sum and its LayerNorm          `triton_layer_norm`
=============================  ==========================================  ===================

`choice` says which of the two a tensor gets; `maps` makes the maps of overlapping windows and of
both ends.  Triton is imported when a kernel is first used, never before.
"""
