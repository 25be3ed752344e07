"""Further transformers models to run on a GPU and on the virtual device, chosen after the device was built."""

from __future__ import annotations

from typing import Any

import torch
import transformers as tf

from tests.programs.transformers_models import _LLAMA, Program, _prompt, _train

PROGRAMS: dict[str, Program] = {}
_SMALL = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}


def program(function: Program) -> Program:
    """Enter `function` under its name."""
    PROGRAMS[function.__name__] = function
    return function


def _decoder(config: Any, new_tokens: int = 5, **more: Any) -> None:
    torch.manual_seed(0)
    model = tf.AutoModelForCausalLM.from_config(config).to("cuda")
    inputs = _prompt()
    model.eval().generate(**inputs, max_new_tokens=new_tokens, do_sample=False, pad_token_id=0, **more)
    _train(model, **inputs, labels=inputs["input_ids"])


def _encoder(config: Any) -> None:
    torch.manual_seed(0)
    model = tf.AutoModelForMaskedLM.from_config(config).to("cuda")
    inputs = _prompt()
    inputs["attention_mask"][0, -3:] = 0
    with torch.no_grad():
        model.eval()(**inputs)
    _train(model, **inputs, labels=inputs["input_ids"])


def _images(config: Any, size: int = 32) -> None:
    torch.manual_seed(0)
    model = tf.AutoModelForImageClassification.from_config(config).to("cuda")
    images = torch.randn(2, 3, size, size, device="cuda")
    with torch.no_grad():
        model.eval()(pixel_values=images)
    _train(model, pixel_values=images, labels=torch.tensor([0, 1], device="cuda"))


@program
def mistral_sliding_window() -> None:
    _decoder(tf.MistralConfig(**_LLAMA, sliding_window=8))


@program
def qwen2() -> None:
    _decoder(tf.Qwen2Config(**_LLAMA))


@program
def qwen3() -> None:
    _decoder(tf.Qwen3Config(**_LLAMA, head_dim=16))


@program
def qwen3_moe() -> None:
    _decoder(tf.Qwen3MoeConfig(**_LLAMA, head_dim=16, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32))


@program
def gemma2() -> None:
    _decoder(tf.Gemma2Config(**_LLAMA, head_dim=16, sliding_window=8))


@program
def gemma3() -> None:
    _decoder(tf.Gemma3TextConfig(**_LLAMA, head_dim=16, sliding_window=8))


@program
def phi() -> None:
    _decoder(tf.PhiConfig(**_LLAMA))


@program
def gpt_neox() -> None:
    _decoder(tf.GPTNeoXConfig(**_SMALL, vocab_size=256, eos_token_id=255, bos_token_id=1))


@program
def opt() -> None:
    _decoder(
        tf.OPTConfig(
            vocab_size=256,
            hidden_size=64,
            ffn_dim=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=64,
            word_embed_proj_dim=64,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=255,
        )
    )


@program
def bloom() -> None:
    _decoder(tf.BloomConfig(vocab_size=256, hidden_size=64, n_layer=2, n_head=4, bos_token_id=1, eos_token_id=255))


@program
def falcon() -> None:
    _decoder(
        tf.FalconConfig(
            vocab_size=256, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, bos_token_id=1, eos_token_id=255
        )
    )


@program
def gpt_oss() -> None:
    _decoder(tf.GptOssConfig(**_LLAMA, head_dim=16, num_local_experts=4, num_experts_per_tok=2, sliding_window=8))


@program
def deepseek_v3() -> None:
    _decoder(
        tf.DeepseekV3Config(
            **{**_LLAMA, "num_key_value_heads": 4},
            moe_intermediate_size=32,
            n_routed_experts=4,
            n_shared_experts=1,
            num_experts_per_tok=2,
            n_group=2,
            topk_group=1,
            kv_lora_rank=16,
            q_lora_rank=16,
            qk_rope_head_dim=8,
            qk_nope_head_dim=8,
            v_head_dim=16,
            first_k_dense_replace=1,
        )
    )


@program
def mamba2() -> None:
    _decoder(
        tf.Mamba2Config(
            vocab_size=256,
            hidden_size=64,
            state_size=16,
            num_hidden_layers=2,
            num_heads=8,
            head_dim=16,
            n_groups=1,
            chunk_size=16,
            bos_token_id=1,
            eos_token_id=255,
            pad_token_id=0,
        )
    )


@program
def recurrent_gemma() -> None:
    _decoder(
        tf.RecurrentGemmaConfig(
            vocab_size=256,
            hidden_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=128,
            lru_width=64,
            attention_window_size=8,
            bos_token_id=1,
            eos_token_id=255,
        )
    )


@program
def roberta() -> None:
    _encoder(tf.RobertaConfig(**_SMALL, vocab_size=256, max_position_embeddings=64))


@program
def distilbert() -> None:
    _encoder(tf.DistilBertConfig(vocab_size=256, dim=64, n_layers=2, n_heads=4, hidden_dim=128))


@program
def electra() -> None:
    _encoder(tf.ElectraConfig(**_SMALL, vocab_size=256, embedding_size=64))


@program
def deberta_v2() -> None:
    _encoder(
        tf.DebertaV2Config(
            **_SMALL, vocab_size=256, relative_attention=True, pos_att_type=["p2c", "c2p"], pad_token_id=0
        )
    )


@program
def modernbert() -> None:
    _encoder(tf.ModernBertConfig(**_SMALL, vocab_size=256, pad_token_id=0, reference_compile=False))


@program
def longformer() -> None:
    _encoder(tf.LongformerConfig(**_SMALL, vocab_size=256, attention_window=[4, 4], max_position_embeddings=64))


@program
def bart() -> None:
    torch.manual_seed(0)
    config = tf.BartConfig(
        vocab_size=256,
        d_model=64,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=2,
        forced_eos_token_id=2,
    )
    model = tf.BartForConditionalGeneration(config).to("cuda")
    inputs = _prompt()
    model.eval().generate(**inputs, max_new_tokens=5, num_beams=2)
    _train(model, **inputs, labels=inputs["input_ids"])


@program
def swin() -> None:
    _images(tf.SwinConfig(image_size=32, patch_size=4, embed_dim=16, depths=[1, 1], num_heads=[2, 2], window_size=4))


@program
def convnext() -> None:
    _images(tf.ConvNextConfig(hidden_sizes=[8, 16, 16, 16], depths=[1, 1, 1, 1]))


@program
def resnet() -> None:
    _images(tf.ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"))


@program
def wav2vec2_ctc() -> None:
    torch.manual_seed(0)
    config = tf.Wav2Vec2Config(
        **_SMALL,
        vocab_size=32,
        conv_dim=(16, 16),
        conv_stride=(5, 2),
        conv_kernel=(10, 3),
        num_feat_extract_layers=2,
        num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2,
        mask_time_prob=0.0,
        mask_feature_prob=0.0,
    )
    model = tf.Wav2Vec2ForCTC(config).to("cuda")
    sound = torch.randn(2, 800, device="cuda")
    with torch.no_grad():
        model.eval()(sound)
    _train(model, input_values=sound, labels=torch.randint(1, 30, (2, 6), device="cuda"))


@program
def llava() -> None:
    torch.manual_seed(0)
    vision = tf.CLIPVisionConfig(**_SMALL, image_size=16, patch_size=8)
    config = tf.LlavaConfig(
        vision_config=vision, text_config=tf.LlamaConfig(**_LLAMA), image_token_index=9, vision_feature_layer=-1
    )
    model = tf.LlavaForConditionalGeneration(config).to("cuda").eval()
    inputs = _prompt(batch=1)
    inputs["input_ids"][inputs["input_ids"] == 9] = 10
    inputs["input_ids"][0, 2:6] = 9
    pixels = torch.randn(1, 3, 16, 16, device="cuda")
    model.generate(**inputs, pixel_values=pixels, max_new_tokens=4, do_sample=False)


@program
def llama_contrastive_of_sampling_options() -> None:
    torch.manual_seed(0)
    model = tf.LlamaForCausalLM(tf.LlamaConfig(**_LLAMA)).to("cuda").eval()
    common = {"max_new_tokens": 5, "do_sample": True}
    model.generate(**_prompt(), **common, min_p=0.1)
    model.generate(**_prompt(), **common, typical_p=0.9)
    model.generate(**_prompt(), **common, epsilon_cutoff=1e-3, eta_cutoff=1e-3)
    model.generate(**_prompt(), **common, num_return_sequences=2, output_scores=True, return_dict_in_generate=True)
    model.generate(**_prompt(), max_new_tokens=5, num_beams=4, num_beam_groups=1, length_penalty=0.5, do_sample=False)


@program
def llama_padded_batch_left_and_right() -> None:
    torch.manual_seed(0)
    model = tf.LlamaForCausalLM(tf.LlamaConfig(**_LLAMA)).to("cuda").eval()
    inputs = _prompt()
    inputs["attention_mask"][0, :5] = 0
    with torch.no_grad():
        model(**inputs)
        inputs["attention_mask"][1, -5:] = 0
        model(**inputs, labels=inputs["input_ids"])


@program
def llama_gradient_checkpointing_and_accumulation() -> None:
    torch.manual_seed(0)
    model = tf.LlamaForCausalLM(tf.LlamaConfig(**_LLAMA)).to("cuda").train()
    model.gradient_checkpointing_enable()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = tf.get_linear_schedule_with_warmup(optimizer, 1, 4)
    total = 0.0
    for _ in range(2):
        inputs = _prompt()
        loss = model(**inputs, labels=inputs["input_ids"]).loss / 2
        loss.backward()
        total += loss.item()
    optimizer.step()
    scheduler.step()


@program
def llama_amp_step() -> None:
    torch.manual_seed(0)
    model = tf.LlamaForCausalLM(tf.LlamaConfig(**_LLAMA)).to("cuda").train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    scaler = torch.amp.GradScaler("cuda")
    inputs = _prompt()
    with torch.autocast("cuda", dtype=torch.float16):
        loss = model(**inputs, labels=inputs["input_ids"]).loss
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()


@program
def llama_bfloat16() -> None:
    torch.manual_seed(0)
    model = tf.LlamaForCausalLM(tf.LlamaConfig(**_LLAMA)).to("cuda", torch.bfloat16).eval()
    model.generate(**_prompt(), max_new_tokens=4, do_sample=False)
