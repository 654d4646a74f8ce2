"""DynamiCrafter (arXiv:2310.12190): a picture and a text become a clip, by a trained network.

Where to find what the paper says:

=====================  ======================================  ================================
paper                  what                                    file
=====================  ======================================  ================================
3.1                    noise schedule, sampling, targets       scheduler.py
3.1, Eq. 1             the loss of a stage                     training.py
3.2, Eq. 2, Fig. 2a    dual cross-attention and its gate       dual_stream.py
3.2, Fig. 1            query transformer P                     image_context.py
3.2                    the video U-Net                         unet.py
3.2                    visual detail guidance                  detail_guidance.py
3.3, 4.5               stages as data, ablations               stages.py
3.3                    networks made from one another          inflation.py, image_model.py
4.1                    guidance by image and text              sampling.py, pipeline.py
4.1                    released checkpoints                    checkpoint.py, networks.py
=====================  ======================================  ================================

`pipeline.py` puts them together; `clip_job.py` makes one clip, `conditioning.py` what it is made
under, `encoders.py` what the other networks make of words and pictures, `clip_image.py` what CLIP
is shown; `loading.py` finds models by name, `borrowed.py` what a checkpoint lacks.
"""
