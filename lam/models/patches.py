"""Images as patches, and back.

B batch, H W pixels, C channels, N patches, P numbers of a patch.
"""

from einops import rearrange


def patchify(image_BHWC, patch):
    """Pixels of each patch side by side: [B,H/patch,W/patch,patch*patch*C]."""
    return rearrange(image_BHWC, "b (h p) (w q) c -> b h w (p q c)", p=patch, q=patch)


def unpatchify(patches_BNP, patch, height):
    """Patches back to pixels: [B,N,patch*patch*C] -> [B,H,W,C]."""
    return rearrange(
        patches_BNP, "b (h w) (p q c) -> b (h p) (w q) c", p=patch, q=patch, h=height // patch
    )
