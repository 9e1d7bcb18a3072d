# ruff: noqa: E501
"""Tiny models of the Hugging Face families, built from their configurations: nothing is downloaded."""

from collections.abc import Callable
from typing import Any

import torch

WORDS = {"input_ids": torch.randint(3, 40, (2, 6), generator=torch.Generator().manual_seed(0))}
IMAGES = {"pixel_values": torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))}
SOUND = torch.randn(2, 400, generator=torch.Generator().manual_seed(0))

ENCODER = {
    "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 20,
    "max_position_embeddings": 32, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "num_labels": 2,
}  # fmt: skip
DECODER = {
    "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 3, "num_key_value_heads": 1,
    "intermediate_size": 20, "max_position_embeddings": 32, "attention_dropout": 0.0, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
VISION = {
    "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 20, "image_size": 32,
    "patch_size": 16, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "num_labels": 2,
}  # fmt: skip
SEQ2SEQ = {
    "vocab_size": 40, "d_model": 12, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 3,
    "decoder_attention_heads": 3, "encoder_ffn_dim": 20, "decoder_ffn_dim": 20, "dropout": 0.0,
    "activation_dropout": 0.0, "attention_dropout": 0.0, "encoder_layerdrop": 0.0, "decoder_layerdrop": 0.0,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2,
}  # fmt: skip
PAIRS = {**WORDS, "decoder_input_ids": WORDS["input_ids"][:, :5]}
TEXT_TOWER = {"vocab_size": 40, "hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 1,
              "num_attention_heads": 3, "max_position_embeddings": 16, "projection_dim": 8, "eos_token_id": 2}  # fmt: skip
IMAGE_TOWER = {"hidden_size": 12, "intermediate_size": 20, "num_hidden_layers": 1, "num_attention_heads": 3,
               "image_size": 32, "patch_size": 16, "projection_dim": 8}  # fmt: skip


def family(config: str, model: str, options: dict[str, Any], inputs: dict[str, Any]) -> Callable[[], Any]:
    """Builds (model, inputs); both classes by name, so that reading this file imports nothing heavy."""

    def build() -> Any:
        import transformers

        return getattr(transformers, model)(getattr(transformers, config)(**options)), inputs

    return build


FAMILIES: dict[str, Callable[[], Any]] = {
    "bert": family("BertConfig", "BertForSequenceClassification", ENCODER, WORDS),
    "bert masked": family("BertConfig", "BertForMaskedLM", ENCODER, WORDS),
    "roberta": family("RobertaConfig", "RobertaForSequenceClassification", {**ENCODER, "pad_token_id": 1}, WORDS),
    "distilbert": family(
        "DistilBertConfig", "DistilBertForSequenceClassification",
        {"vocab_size": 40, "dim": 12, "hidden_dim": 20, "n_heads": 3, "n_layers": 1, "dropout": 0.0,
         "attention_dropout": 0.0, "seq_classif_dropout": 0.0, "max_position_embeddings": 32}, WORDS,
    ),
    "deberta": family(
        "DebertaV2Config", "DebertaV2ForSequenceClassification",
        {**ENCODER, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}, WORDS,
    ),
    "electra": family("ElectraConfig", "ElectraForSequenceClassification", {**ENCODER, "embedding_size": 8}, WORDS),
    "albert": family("AlbertConfig", "AlbertForSequenceClassification", {**ENCODER, "embedding_size": 8, "classifier_dropout_prob": 0.0}, WORDS),
    "gpt2": family(
        "GPT2Config", "GPT2LMHeadModel",
        {"vocab_size": 40, "n_embd": 12, "n_layer": 1, "n_head": 3, "n_positions": 32, "resid_pdrop": 0.0,
         "embd_pdrop": 0.0, "attn_pdrop": 0.0}, WORDS,
    ),
    "gpt neox": family("GPTNeoXConfig", "GPTNeoXForCausalLM", {**{k: v for k, v in DECODER.items() if "key_value" not in k}, "hidden_dropout": 0.0}, WORDS),
    "opt": family(
        "OPTConfig", "OPTForCausalLM",
        {"vocab_size": 40, "hidden_size": 12, "ffn_dim": 20, "num_hidden_layers": 1, "num_attention_heads": 3,
         "max_position_embeddings": 32, "word_embed_proj_dim": 12, "dropout": 0.0, "attention_dropout": 0.0}, WORDS,
    ),
    "bloom": family(
        "BloomConfig", "BloomForCausalLM",
        {"vocab_size": 40, "hidden_size": 12, "n_layer": 1, "n_head": 3, "hidden_dropout": 0.0, "attention_dropout": 0.0}, WORDS,
    ),
    "llama": family("LlamaConfig", "LlamaForCausalLM", DECODER, WORDS),
    "llama tied": family("LlamaConfig", "LlamaForCausalLM", {**DECODER, "tie_word_embeddings": True, "num_key_value_heads": 3}, WORDS),
    "mistral": family("MistralConfig", "MistralForCausalLM", DECODER, WORDS),
    "mixtral": family("MixtralConfig", "MixtralForCausalLM", {**DECODER, "num_local_experts": 3, "experts_implementation": "batched_mm"}, WORDS),
    "qwen2": family("Qwen2Config", "Qwen2ForCausalLM", DECODER, WORDS),
    "qwen3": family("Qwen3Config", "Qwen3ForCausalLM", {**DECODER, "head_dim": 4}, WORDS),
    "gemma": family("GemmaConfig", "GemmaForCausalLM", {**DECODER, "head_dim": 4}, WORDS),
    "gemma2": family("Gemma2Config", "Gemma2ForCausalLM", {**DECODER, "head_dim": 4, "num_hidden_layers": 2}, WORDS),
    "gemma3": family("Gemma3TextConfig", "Gemma3ForCausalLM", {**DECODER, "head_dim": 4}, WORDS),
    "phi": family("PhiConfig", "PhiForCausalLM", {**DECODER, "num_key_value_heads": 3, "resid_pdrop": 0.0, "embd_pdrop": 0.0}, WORDS),
    "phi3": family("Phi3Config", "Phi3ForCausalLM", {**DECODER, "resid_pdrop": 0.0, "embd_pdrop": 0.0}, WORDS),
    "olmo": family("OlmoConfig", "OlmoForCausalLM", DECODER, WORDS),
    "falcon": family("FalconConfig", "FalconForCausalLM", {"vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 3, "hidden_dropout": 0.0, "attention_dropout": 0.0, "ffn_hidden_size": 20}, WORDS),
    "t5": family(
        "T5Config", "T5ForConditionalGeneration",
        {"vocab_size": 40, "d_model": 12, "d_kv": 4, "d_ff": 20, "num_layers": 1, "num_heads": 3, "dropout_rate": 0.0,
         "decoder_start_token_id": 0}, PAIRS,
    ),
    "bart": family("BartConfig", "BartForConditionalGeneration", {**SEQ2SEQ, "max_position_embeddings": 32}, PAIRS),
    "bart labels": family("BartConfig", "BartForConditionalGeneration", {**SEQ2SEQ, "max_position_embeddings": 32}, {**WORDS, "labels": WORDS["input_ids"]}),
    "mamba": family(
        "MambaConfig", "MambaForCausalLM",
        {"vocab_size": 40, "hidden_size": 8, "state_size": 3, "num_hidden_layers": 1, "expand": 2, "conv_kernel": 2,
         "time_step_rank": 2}, WORDS,
    ),
    "mamba2": family(
        "Mamba2Config", "Mamba2ForCausalLM",
        {"vocab_size": 40, "hidden_size": 8, "state_size": 4, "num_hidden_layers": 1, "expand": 2, "conv_kernel": 2,
         "num_heads": 4, "head_dim": 4, "n_groups": 1, "chunk_size": 4}, WORDS,
    ),
    "whisper": family(
        "WhisperConfig", "WhisperForConditionalGeneration",
        {**SEQ2SEQ, "num_mel_bins": 4, "max_source_positions": 8, "max_target_positions": 16},
        {"input_features": torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(0)), "decoder_input_ids": WORDS["input_ids"][:, :5]},
    ),
    "wav2vec2": family(
        "Wav2Vec2Config", "Wav2Vec2ForCTC",
        {"vocab_size": 10, "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 20,
         "conv_dim": (8, 8), "conv_kernel": (10, 3), "conv_stride": (5, 2), "num_feat_extract_layers": 2,
         "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "hidden_dropout": 0.0,
         "attention_dropout": 0.0, "feat_proj_dropout": 0.0, "activation_dropout": 0.0, "layerdrop": 0.0,
         "mask_time_prob": 0.0, "final_dropout": 0.0}, {"input_values": SOUND},
    ),
    "clip": family("CLIPConfig", "CLIPModel", {"text_config": TEXT_TOWER, "vision_config": IMAGE_TOWER, "projection_dim": 8}, {**WORDS, **IMAGES}),
    "siglip": family("SiglipConfig", "SiglipModel", {"text_config": TEXT_TOWER, "vision_config": IMAGE_TOWER}, {**WORDS, **IMAGES}),
    "vit": family("ViTConfig", "ViTForImageClassification", VISION, IMAGES),
    "deit": family("DeiTConfig", "DeiTForImageClassification", VISION, IMAGES),
    "dinov2": family("Dinov2Config", "Dinov2ForImageClassification", {**VISION, "drop_path_rate": 0.0}, IMAGES),
    "beit": family("BeitConfig", "BeitForImageClassification", {**VISION, "vocab_size": 20, "drop_path_rate": 0.0, "use_relative_position_bias": True}, IMAGES),
    "swin": family(
        "SwinConfig", "SwinForImageClassification",
        {"image_size": 32, "patch_size": 4, "embed_dim": 8, "depths": [2], "num_heads": [2], "window_size": 4,
         "num_labels": 2, "drop_path_rate": 0.0}, IMAGES,
    ),
    "convnext v2": family("ConvNextV2Config", "ConvNextV2ForImageClassification", {"num_stages": 2, "hidden_sizes": [4, 8], "depths": [1, 1], "num_labels": 2, "drop_path_rate": 0.0}, IMAGES),
    "resnet": family("ResNetConfig", "ResNetForImageClassification", {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "layer_type": "basic", "num_labels": 2}, IMAGES),
    "mobilenet v2": family("MobileNetV2Config", "MobileNetV2ForImageClassification", {"image_size": 32, "depth_multiplier": 0.05, "num_labels": 2, "classifier_dropout_prob": 0.0, "initializer_range": 0.3}, IMAGES),
    "efficientnet": family(
        "EfficientNetConfig", "EfficientNetForImageClassification",
        {"image_size": 32, "width_coefficient": 0.1, "depth_coefficient": 0.1, "in_channels": [8, 8], "out_channels": [8, 8],
         "kernel_sizes": [3, 3], "strides": [1, 2], "num_block_repeats": [1, 1], "expand_ratios": [1, 2],
         "depthwise_padding": [], "hidden_dim": 128, "initializer_range": 0.3, "dropout_rate": 0.0, "drop_connect_rate": 0.0, "num_labels": 2}, IMAGES,
    ),
    "regnet": family("RegNetConfig", "RegNetForImageClassification", {"embedding_size": 4, "hidden_sizes": [4, 8], "depths": [1, 1], "groups_width": 2, "num_labels": 2}, IMAGES),
    "segformer": family(
        "SegformerConfig", "SegformerForImageClassification",
        {"num_encoder_blocks": 2, "depths": [1, 1], "sr_ratios": [2, 1], "hidden_sizes": [4, 8], "patch_sizes": [7, 3],
         "strides": [4, 2], "num_attention_heads": [1, 2], "mlp_ratios": [2, 2], "drop_path_rate": 0.0, "hidden_dropout_prob": 0.0,
         "attention_probs_dropout_prob": 0.0, "classifier_dropout_prob": 0.0, "num_labels": 2, "decoder_hidden_size": 8}, IMAGES,
    ),
    "decision transformer": family(
        "DecisionTransformerConfig", "DecisionTransformerModel",
        {"state_dim": 3, "act_dim": 2, "hidden_size": 12, "max_ep_len": 8, "n_layer": 1, "n_head": 3, "n_inner": 20,
         "vocab_size": 1, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
        {"states": torch.ones(2, 4, 3), "actions": torch.ones(2, 4, 2), "returns_to_go": torch.ones(2, 4, 1),
         "timesteps": torch.arange(4)[None].repeat(2, 1), "attention_mask": torch.ones(2, 4)},
    ),
}  # fmt: skip
