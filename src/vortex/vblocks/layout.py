"""Names and shapes of a core's tensors, as `CoreNetwork.state_dict()` has them. Knows no torch."""

from __future__ import annotations

from vortex.vblocks.config import CoreConfig

Shapes = dict[str, tuple[int, ...]]


def tensor_shapes(config: CoreConfig) -> Shapes:
    """Every tensor of a checkpoint of this configuration."""
    shapes: Shapes = {"embedding.weight": (config.vocab_size, config.width), "norm.weight": (config.width,)}
    if not config.tie_embeddings:
        shapes["head.weight"] = (config.vocab_size, config.width)
    for index in range(config.num_layers):
        prefix = f"layers.{index}."
        shapes |= {prefix + name: shape for name, shape in layer_shapes(config, index).items()}
    square = (config.width, config.width)
    for index in range(config.mtp_k):
        shapes |= {f"mtp.{index}.norm.weight": (config.width,)}
        shapes |= {f"mtp.{index}.in_proj.weight": square, f"mtp.{index}.out_proj.weight": square}
    return shapes


def layer_shapes(config: CoreConfig, index: int) -> Shapes:
    width = config.width
    shapes: Shapes = {f"{name}_norm.weight": (width,) for name in ("local", "mixer", "mlp")}
    shapes |= _local(config) | _delta(config)
    if config.has_lava(index):
        shapes |= _lava(config)
    shapes["mlp.in_proj.weight"] = (2 * config.mlp_width, width)
    shapes["mlp.out_proj.weight"] = (width, config.mlp_width)
    if config.is_gated(index):
        shapes |= {"gate.weight": (width,), "gate.bias": (1,)}
    return shapes


def _local(config: CoreConfig) -> Shapes:
    width, window = config.width, config.local_window
    shapes: Shapes = {
        "local.in_proj.weight": (3 * width + 2 * config.local_kv_width if window else 2 * width, width),
        "local.conv.weight": (width, config.local_conv),
        "local.out_proj.weight": (width, (2 if window else 1) * width),
    }
    if window:
        shapes["local.distance_bias"] = (config.local_heads, window)
    if window and config.local_sink:
        pair = (config.local_kv_heads or config.local_heads, width // config.local_heads)
        shapes |= {"local.sink_key": pair, "local.sink_value": pair}
    return shapes


def _delta(config: CoreConfig) -> Shapes:
    heads, values = config.num_heads, config.num_heads * config.value_dim
    mixed = 2 * heads * config.key_dim + values
    return {
        "delta.in_proj.weight": (mixed + values + 2 * heads, config.width),
        "delta.conv.weight": (mixed, config.ssm_conv),
        "delta.decay_rate": (heads,),
        "delta.decay_bias": (heads,),
        "delta.norm": (config.value_dim,),
        "delta.out_proj.weight": (config.width, values),
    }


def _lava(config: CoreConfig) -> Shapes:
    heads, values = config.lava_heads, config.lava_heads * config.lava_value_dim
    mixed = 2 * heads * config.lava_key_dim + values
    return {
        "lava.in_proj.weight": (mixed + values + 1, config.width),
        "lava.conv.weight": (mixed, config.lava_conv),
        "lava.log_gamma": (heads,),
        "lava.write_bias": (1,),
        "lava.null_logit": (heads,),
        "lava.null_value": (heads, config.lava_value_dim),
        "lava.out_proj.weight": (config.width, values),
    }
