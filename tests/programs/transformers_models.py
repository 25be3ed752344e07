"""Transformers models of many kinds, tiny and random, to run on a GPU and on the virtual device.

Each program is a function of nothing that runs on "cuda"; its synchronizations are compared between devices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers as tf

Program = Callable[[], None]
PROGRAMS: dict[str, Program] = {}

_LLAMA = {
    "vocab_size": 256,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 255,
}


def program(function: Program) -> Program:
    """Enter `function` under its name."""
    PROGRAMS[function.__name__] = function
    return function


def _prompt(length: int = 12, batch: int = 2) -> dict[str, torch.Tensor]:
    ids = torch.randint(2, 250, (batch, length), device="cuda")
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _llama(**changes: Any) -> Any:
    torch.manual_seed(0)
    return tf.LlamaForCausalLM(tf.LlamaConfig(**{**_LLAMA, **changes})).to("cuda").eval()


def _train(model: Any, **inputs: torch.Tensor) -> None:
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loss = model(**inputs).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


@program
def llama_greedy() -> None:
    _llama().generate(**_prompt(), max_new_tokens=8, do_sample=False)


@program
def llama_padded_greedy() -> None:
    inputs = _prompt()
    inputs["attention_mask"][0, :4] = 0
    _llama().generate(**inputs, max_new_tokens=8, do_sample=False)


@program
def llama_sampling() -> None:
    _llama().generate(**_prompt(), max_new_tokens=8, do_sample=True, top_k=20, top_p=0.9, temperature=0.7)


@program
def llama_beam() -> None:
    _llama().generate(**_prompt(), max_new_tokens=8, num_beams=3, do_sample=False)


@program
def llama_assisted() -> None:
    draft = _llama(num_hidden_layers=1)
    _llama().generate(**_prompt(batch=1), max_new_tokens=8, assistant_model=draft, do_sample=False)


@program
def llama_static_cache() -> None:
    _llama().generate(**_prompt(), max_new_tokens=8, do_sample=False, cache_implementation="static")


@program
def llama_processors() -> None:
    _llama().generate(
        **_prompt(),
        max_new_tokens=8,
        do_sample=False,
        repetition_penalty=1.2,
        no_repeat_ngram_size=2,
        min_new_tokens=2,
        bad_words_ids=[[5, 6]],
    )


@program
def llama_forward() -> None:
    with torch.no_grad():
        _llama()(**_prompt())


@program
def llama_train() -> None:
    inputs = _prompt()
    _train(_llama(), **inputs, labels=inputs["input_ids"])


@program
def gpt2_generate() -> None:
    torch.manual_seed(0)
    config = tf.GPT2Config(vocab_size=256, n_positions=128, n_embd=64, n_layer=2, n_head=4, eos_token_id=255)
    tf.GPT2LMHeadModel(config).to("cuda").eval().generate(**_prompt(), max_new_tokens=6, pad_token_id=0)


@program
def bert_classify_and_train() -> None:
    torch.manual_seed(0)
    config = tf.BertConfig(
        vocab_size=256, hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, num_labels=3
    )
    model = tf.BertForSequenceClassification(config).to("cuda")
    inputs = _prompt()
    with torch.no_grad():
        model.eval()(**inputs)
    _train(model, **inputs, labels=torch.tensor([0, 2], device="cuda"))


@program
def t5_generate_and_train() -> None:
    torch.manual_seed(0)
    config = tf.T5Config(
        vocab_size=256, d_model=64, d_kv=16, d_ff=128, num_layers=2, num_heads=4, decoder_start_token_id=0
    )
    model = tf.T5ForConditionalGeneration(config).to("cuda")
    inputs = _prompt()
    model.eval().generate(**inputs, max_new_tokens=6)
    _train(model, **inputs, labels=torch.randint(2, 250, (2, 6), device="cuda"))


@program
def mixtral_generate_and_train() -> None:
    torch.manual_seed(0)
    config = tf.MixtralConfig(**{**_LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2})
    model = tf.MixtralForCausalLM(config).to("cuda")
    inputs = _prompt()
    model.eval().generate(**inputs, max_new_tokens=6, do_sample=False)
    _train(model, **inputs, labels=inputs["input_ids"])


@program
def mamba_generate() -> None:
    torch.manual_seed(0)
    config = tf.MambaConfig(vocab_size=256, hidden_size=64, state_size=8, num_hidden_layers=2, eos_token_id=255)
    tf.MambaForCausalLM(config).to("cuda").eval().generate(**_prompt(), max_new_tokens=6, pad_token_id=0)


@program
def qwen3_next_generate() -> None:
    torch.manual_seed(0)
    config = tf.Qwen3NextConfig(
        **{**_LLAMA, "num_hidden_layers": 4},
        head_dim=16,
        linear_num_key_heads=2,
        linear_num_value_heads=4,
        linear_key_head_dim=16,
        linear_value_head_dim=16,
        moe_intermediate_size=32,
        shared_expert_intermediate_size=32,
        num_experts=4,
        num_experts_per_tok=2,
    )
    tf.Qwen3NextForCausalLM(config).to("cuda").eval().generate(**_prompt(), max_new_tokens=5, do_sample=False)


@program
def vit_classify_and_train() -> None:
    torch.manual_seed(0)
    config = tf.ViTConfig(
        hidden_size=64, num_hidden_layers=2, num_attention_heads=4, intermediate_size=128, image_size=32, patch_size=8
    )
    model = tf.ViTForImageClassification(config).to("cuda")
    images = torch.randn(2, 3, 32, 32, device="cuda")
    with torch.no_grad():
        model.eval()(pixel_values=images)
    _train(model, pixel_values=images, labels=torch.tensor([0, 1], device="cuda"))


@program
def whisper_generate() -> None:
    torch.manual_seed(0)
    config = tf.WhisperConfig(
        vocab_size=300,
        d_model=64,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=128,
        decoder_ffn_dim=128,
        num_mel_bins=16,
        max_source_positions=50,
        max_target_positions=40,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        decoder_start_token_id=3,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    model = tf.WhisperForConditionalGeneration(config).to("cuda").eval()
    model.generate(torch.randn(1, 16, 100, device="cuda"), max_new_tokens=5)


@program
def clip_forward() -> None:
    torch.manual_seed(0)
    text = {"vocab_size": 256, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "max_position_embeddings": 32, "eos_token_id": 255, "bos_token_id": 254}
    vision = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    vision |= {"image_size": 32, "patch_size": 8}
    config = tf.CLIPConfig(text_config=text, vision_config=vision, projection_dim=32)
    model = tf.CLIPModel(config).to("cuda").eval()
    with torch.no_grad():
        model(**_prompt(), pixel_values=torch.randn(2, 3, 32, 32, device="cuda"))
