"""DynamiCrafter (arXiv:2310.12190): a picture and a text become a clip, by a trained network.

Where to find what the paper says:

=====================  ======================================  ================================
paper                  what                                    file
=====================  ======================================  ================================
3.1                    noise schedule, sampling, targets       scheduler.py
3.2, Eq. 2, Fig. 2a    dual cross-attention and its gate       dual_stream.py
3.2, Fig. 1            query transformer P                     image_context.py
3.2                    the video U-Net                         unet.py
3.2                    visual detail guidance                  detail_guidance.py
4.1                    guidance by image and text              ../diffusion/guidance.py
=====================  ======================================  ================================
"""
