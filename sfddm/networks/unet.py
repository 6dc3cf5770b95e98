"""diffusers' UNet2DModel without the rest of diffusers.

To import it as usual imports every network that diffusers has, and torch's compiler with them: three quarters of the
time that a stage took to begin.
"""

from sfddm.runtime.alone import alone

# diffusers marks layers for the compiler, and does without where it can't be imported. What compiles imports it then.
with alone({"diffusers.models.transformers": {}, "diffusers.models.unets": {}}, without="torch._dynamo"):
    from diffusers.models.unets.unet_2d import UNet2DModel

__all__ = ["UNet2DModel"]
