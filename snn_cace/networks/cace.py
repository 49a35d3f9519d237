"""CACE-Net, as a config sees it, and its original's names, which its peers' share; its modules are in
`snn_cace.model.cace`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from snn_cace.networks.spec import NetworkSpec, Original

if TYPE_CHECKING:
    from snn_cace.config import ModelConfig

CHANNEL_SPATIAL = {
    "affine_video_1": "channel.patch",
    "affine_audio_1": "channel.guide",
    "affine_bottleneck": "channel.bottleneck",
    "affine_v_c_att": "channel.weight",
    "affine_video_2": "spatial.patch",
    "affine_audio_2": "spatial.guide",
    "affine_v_s_att": "spatial.score",
}
PICTURE = {old: f"guidance.picture.{new}" for old, new in CHANNEL_SPATIAL.items()} | {
    "affine_video_ave": "guidance.picture.self_spatial.guide",
    "affine_video_3": "guidance.picture.self_spatial.patch",
    "ave_v_att": "guidance.picture.self_spatial.score",
    "video_query": "guidance.picture.self_attention.query",
    "video_key": "guidance.picture.self_attention.key",
    "video_value": "guidance.picture.self_attention.value",
}
SOUND = {
    "audio_query": "guidance.sound.sound_attention.query",
    "audio_key": "guidance.sound.sound_attention.key",
    "audio_value": "guidance.sound.sound_attention.value",
    "a_norm": "guidance.sound.sound_norm",
    "v_query": "guidance.sound.cross_attention.query",
    "vaudio_key": "guidance.sound.cross_attention.key",
    "vaudio_value": "guidance.sound.cross_attention.value",
}
LAYER = {"linear1": "feed_forward.linear1", "linear2": "feed_forward.linear2", "norm1": "norm1", "norm2": "norm2"}
OUTSIDE_GUIDANCE = {
    "v_fc": "visual_projection",
    "audio_visual_rnn_layer.audio_rnn": "audio_temporal.lstm",
    "audio_visual_rnn_layer.visual_rnn": "visual_temporal.lstm",
    "audio_visual_rnn_layer.audio_snn.fc.0": "audio_temporal.linear",
    "audio_visual_rnn_layer.audio_snn.fc.2": "audio_temporal.norm",
    "audio_visual_rnn_layer.visual_snn.fc.0": "visual_temporal.linear",
    "audio_visual_rnn_layer.visual_snn.fc.2": "visual_temporal.norm",
    "audio_gated.0": "audio_gate",
    "video_gated.0": "visual_gate",
    "audio_cas": "audio_av",
    "video_cas": "visual_av",
    "AVInter.video_multihead": "visual_interaction.attention",
    "AVInter.norm1": "visual_interaction.norm",
    "VAInter.video_multihead": "audio_interaction.attention",
    "VAInter.norm1": "audio_interaction.norm",
    "localize_module.classifier": "head.relevance",
    "localize_module.encoder_q.0": "head.projector",
    "localize_module.event_classifier": "head.event",
}
ENHANCING = {"_extra_state": {"enhance": True}}
"""Our entry for what the original always does once it is trained: it adds the enhanced features."""


class Cace(NetworkSpec):
    title = "CACE-Net"
    modules = "snn_cace.model.cace:CaceNet"
    guidances = ("none", "audio", "visual", "co")
    contrast = ("full",)
    causal = ("full",)
    labels = ("single", "multi-label", "by-modality")

    def slots(self, model: ModelConfig, weak: bool) -> list[str]:
        return list(vars(model.slots))

    def original(self, model: ModelConfig, weak: bool) -> Original:
        return Original(module_names(model.guidance), weak, ENHANCING)


def module_names(guidance: str) -> dict[str, str]:
    """CACE-Net's module prefixes to ours, for one guidance mode (`none`, `audio`, `visual`, `co`).

    Sound guidance reads `video_query`, ... in mode visual and `video_query2`, ... in mode co.
    """
    attention: dict[str, str] = {}
    if guidance != "none":
        attention["v_norm"] = "guidance.visual_norm"
    if guidance in ("audio", "co"):
        attention |= PICTURE
    if guidance in ("visual", "co"):
        attention |= SOUND
        second = "2" if guidance == "co" else ""
        for part in ("query", "key", "value"):
            attention[f"video_{part}{second}"] = f"guidance.sound.picture_attention.{part}"
    names = {f"spatial_channel_att.{old}": new for old, new in attention.items()} | OUTSIDE_GUIDANCE
    for theirs, ours in (("video", "visual"), ("audio", "audio")):
        names[f"{theirs}_encoder.affine_matrix"] = f"{ours}_relation.project"
        names[f"{theirs}_decoder.affine_matrix"] = f"{ours}_cross.project"
        for block, attended, target in (("encoder", "self_attn", "relation"), ("decoder", "multihead_attn", "cross")):
            for index in range(2 if block == "encoder" else 1):
                old, new = f"{theirs}_{block}.{block}.layers.{index}", f"{ours}_{target}.layers.{index}"
                names[f"{old}.{attended}"] = f"{new}.attention"
                names |= {f"{old}.{part}": f"{new}.{ours_part}" for part, ours_part in LAYER.items()}
    return names
