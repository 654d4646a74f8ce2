"""What the networks cost, told without flattery: counted, and timed.

=========================  =====================================================================
counted
counting.py                operations, FLOPs and bytes of any computation, by operator
call.py                    one thing that is counted, before and after
full_size.py               which calls of the full-size networks are counted
full_size_parts.py         what these calls have in common
full_size_video.py         DynamiCrafter's
targets.py                 what the counts should be, and whether they are
tables.py                  the counts as Markdown and for JSON
timed
contenders.py              what a contender is, and an arena where several meet
stages.py                  networks with the clip that is made
random_networks.py         pipelines of full size with random weights
clip_contenders.py         AnimateDiff and AnimateZero: diffusers', the literal one, ours
video_contenders.py        DynamiCrafter: the published way, ours
ladder.py                  the package's savings switched on one after the other
attention_contenders.py    one attention over frames
command_contenders.py      commands in fresh processes
literal_animatezero.py     AnimateZero as the paper writes it
official_dynamicrafter.py  DynamiCrafter as the published code computes
arenas.py                  the arenas of a model
parity.py                  whether contenders make the same thing
timing.py                  interleaved rounds, medians, how busy the machine is
calibration.py             what the device can do at most
contest.py                 one arena: parity, costs, times
time_report.py             all arenas of one run
time_targets.py            what the times should be, and whether they are
time_tables.py             the times as Markdown, for JSON, and as plots
curves.py                  growth with frames, size, steps, clips and memory plans
curve_tables.py            curves as Markdown, for JSON, and as plots
plots.py                   bars and lines as SVG
machine.py                 what was measured on
=========================  =====================================================================
"""
