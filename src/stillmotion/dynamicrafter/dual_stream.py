"""Text-aligned image context beside the text, in every spatial cross-attention (section 3.2).

Shapes: b clips, f frames, n text tokens, m image tokens, c channels, d channels of one head.
Rows are the batch axis of the spatial layers, ((b f) ...), frames fastest.  Temporal attentions
read neither text nor image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from stillmotion.adapters.adapter import Adapter, shadow
from stillmotion.adapters.diffusers_sites import ProjectedAttention
from stillmotion.adapters.diffusers_unet3d import spatial_cross_attentions
from stillmotion.errors import InputError, ModelError
from stillmotion.kernels.attention import attention

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Queries, keys and values -> softmax(Q Kᵀ / √d) V."""


def dual_stream_attention(
    q: Tensor,
    text_k: Tensor,
    text_v: Tensor,
    image_k: Tensor,
    image_v: Tensor,
    gate: Tensor | float,
    attend: Attend = attention,
) -> Tensor:
    """Attention to the text plus gated attention to the image, by the same queries.

    Equation: DynamiCrafter Eq. 2

    F_out = softmax(Q K_txtᵀ / √d) V_txt + λ softmax(Q K_ctxᵀ / √d) V_ctx.  `q` (... l d), `text_k`
    and `text_v` (... n d), `image_k` and `image_v` (... m d), `gate` λ, a number -> (... l d), or
    as many rows of keys and values as `attend` takes.
    The paper's ctx is the image here; its W_K, W_V are `to_k`, `to_v` and its W'_K, W'_V are
    `to_k_ip`, `to_v_ip`, as in the published code.

    Departure: the paper calls λ a tanh gate; in the published code and weights it is
    tanh(alpha) + 1, which lies in (0, 2) and begins at 1; see docs/decisions/0006.
    """
    text, image = attend(q, text_k, text_v), attend(q, image_k, image_v)
    # In one pass over memory, and of one dtype: autocast would widen all to the widest of three.
    if isinstance(gate, Tensor):
        return torch.addcmul(text, image, gate.to(image.dtype))
    return torch.add(text, image, alpha=gate)


class KeysValues(NamedTuple):
    """Of one layer: text (b n c), image (b m c) or, where frames differ, ((b f) m c)."""

    text_k: Tensor
    text_v: Tensor
    image_k: Tensor | None = None
    image_v: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Context:
    """What the cross-attentions of one call read.

    `text` is (b n d); `image` is (b f m d), each frame's own, or (b m d), the same for all frames,
    or None.  Where `layers` is a dictionary, the keys and values of each layer stay in it.
    """

    text: Tensor
    image: Tensor | None
    layers: dict[nn.Module, KeysValues] | None = None

    def keys_values(self, layer: nn.Module, project: Callable[[], KeysValues]) -> KeysValues:
        """Those of `layer`, by `project` unless they are known."""
        if self.layers is None:
            return project()
        if layer not in self.layers:
            self.layers[layer] = project()
        return self.layers[layer]


@dataclass(frozen=True, eq=False)
class ContextCache:
    """The last `size` contexts with their keys and values; the longest unused makes room."""

    size: int
    _contexts: dict[tuple[object, ...], Context] = field(default_factory=dict)

    def context(self, text: Tensor, image: Tensor | None) -> Context:
        """The context of these tensors: the known one if nothing wrote to them since."""
        tensors = [text] if image is None else [text, image]
        if torch.is_grad_enabled() or any(t.is_inference() for t in tensors):
            # A kept graph could not be used twice; inference tensors do not tell when they change.
            return Context(text, image)
        key = tuple(_state(t) for t in tensors)
        # A kept context holds its tensors, so no other tensor can come to lie in their memory.
        known = self._contexts.pop(key, None) or Context(text, image, {})
        self._contexts[key] = known
        if len(self._contexts) > self.size:
            del self._contexts[next(iter(self._contexts))]
        return known


def _state(tensor: Tensor) -> tuple[object, ...]:
    """Equal for two views only if they show the same memory, unchanged."""
    shown = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
    return (*shown, tensor._version)


class DualStreamProcessor(nn.Module):
    """Lets a cross-attention of diffusers attend to text and image (`dual_stream_attention`).

    Owns the projections of the image tokens and, with `learnable_gate`, the scalar alpha of the
    gate.  alpha has one axis of length 1, as FSDP2 cannot hold a parameter without axes.
    `gate_scale` is a factor on the gate set by hand (Fig. 2a), see `gates_scaled`.
    """

    def __init__(self, context_dim: int, channels: int, *, learnable_gate: bool) -> None:
        super().__init__()
        self.to_k_ip = nn.Linear(context_dim, channels, bias=False)
        self.to_v_ip = nn.Linear(context_dim, channels, bias=False)
        self.alpha = nn.Parameter(torch.zeros(1)) if learnable_gate else None
        self.gate_scale = 1.0
        self.shares_context = False

    def gate(self) -> Tensor | float:
        """λ: tanh(alpha) + 1, or 1 without a learnable gate, times `gate_scale`."""
        if self.alpha is None:
            return self.gate_scale
        return self.gate_scale * (torch.tanh(self.alpha[0]) + 1)

    # diffusers reads the names of these parameters; nn.Module's own __call__ would hide them.
    def __call__(
        self,
        attn: nn.Module,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        ip_hidden_states: Context | None = None,
    ) -> Tensor:
        """`hidden_states` ((b f) l c) -> ((b f) l c).

        Text and image come in the context: `encoder_hidden_states` is the same text, but repeated
        for every frame, and would be projected as often.
        """
        if ip_hidden_states is None:
            raise ModelError(
                "An image cross-attention got no context; call the network as a DynamiCrafterUNet."
            )
        assert attention_mask is None
        site, context = ProjectedAttention(attn), ip_hidden_states
        q = site.split(site.to_q(hidden_states))
        known = context.keys_values(self, lambda: self._project(site, context))
        shares = self.shares_context
        attend = _beside_each_other if shares else attention
        text_k, text_v, *image = (
            site.split(x if shares else _for_rows(x, len(q))) for x in known if x is not None
        )
        if not image:
            return site.output(attend(q, text_k, text_v))
        image_k, image_v = image
        return site.output(
            dual_stream_attention(q, text_k, text_v, image_k, image_v, self.gate(), attend)
        )

    def _project(self, site: ProjectedAttention, context: Context) -> KeysValues:
        text_k, text_v = site.to_k(context.text), site.to_v(context.text)
        if context.image is None:
            return KeysValues(text_k, text_v)
        image = context.image.flatten(0, -3)
        return KeysValues(text_k, text_v, self.to_k_ip(image), self.to_v_ip(image))


def _for_rows(x: Tensor, num_rows: int) -> Tensor:
    """(r n c) -> (rows n c): what clips have in common, repeated for each of their frames."""
    return x.repeat_interleave(num_rows // len(x), dim=0)


def _beside_each_other(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of (rows heads l d) to (r heads m d), of which each is for rows/r neighbours.

    The queries of neighbours stand in one row, so that no key or value is repeated.
    """
    neighbours = len(q) // len(k)
    if neighbours == 1:
        return attention(q, k, v)
    tokens = q.transpose(1, 2).unflatten(0, (-1, neighbours)).flatten(1, 2)  # r (rows/r l) heads d
    made = attention(tokens.transpose(1, 2), k, v).transpose(1, 2)
    each: Tensor = made.unflatten(1, (neighbours, -1)).flatten(0, 1).transpose(1, 2)
    return each


class SharedContexts(Adapter):
    """Lets frames that read the same text share its keys and values, which are else repeated."""

    def sites(self, model: nn.Module) -> tuple[str, ...]:
        return tuple(image_attentions(model))

    def inject(self, model: nn.Module, undo: ExitStack) -> None:
        for layer in image_attentions(model).values():
            shadow(layer, "shares_context", True, undo)


@torch.no_grad()
def gates(unet: nn.Module) -> dict[str, float]:
    """λ of every image cross-attention by the layer's name, in the order in which they run.

    In (0, 2) as learned; 1 where the network has no learnable gate.  Empty without image context.
    Factors of `gates_scaled` are included while they apply.
    """
    return {name: float(layer.gate()) for name, layer in image_attentions(unet).items()}


@contextmanager
def gates_scaled(unet: nn.Module, factors: Mapping[str | int, float]) -> Iterator[None]:
    """Multiply λ of single layers for the length of the block (Fig. 2a, right).

    `factors` are by the names of `gates`, or by their positions from 0.  0 leaves the text alone;
    above 1 in the middle layers there is less motion, below 1 less hold on the object's shape.

    Raises:
        InputError: a layer that the network does not have, or a factor that is not finite.
    """
    layers = image_attentions(unet)
    names = list(layers)
    with ExitStack() as undo:
        for where, factor in factors.items():
            if isinstance(where, int):
                name = names[where] if 0 <= where < len(names) else ""
            else:
                name = where
            if name not in layers:
                raise InputError(
                    f"There is no image cross-attention {where!r}; give a position from 0 to "
                    f"{len(names) - 1} or one of the names {', '.join(names) or '(none)'}."
                )
            if not math.isfinite(factor):
                raise InputError(f"A gate cannot be scaled by {factor}; give a finite number.")
            shadow(layers[name], "gate_scale", float(factor), undo)
        yield


def image_attentions(unet: nn.Module) -> dict[str, DualStreamProcessor]:
    """The image cross-attentions by the layer's name, in the order in which they run."""
    return {
        name: site.processor
        for name, site in spatial_cross_attentions(unet).items()
        if isinstance(site.processor, DualStreamProcessor)
    }
