"""Programs that generate: caches, beams, constraints, streaming, encoder-decoders, state spaces, vision."""

from __future__ import annotations

from typing import Any

import torch

from benchmarks.program_set.registry import program

_SMALL = {
    "vocab_size": 128,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 127,
}


def _ids(batch: int = 2, length: int = 8) -> dict[str, torch.Tensor]:
    ids = torch.randint(2, 120, (batch, length), device="cuda")
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _fixed(count: int = 5) -> dict[str, Any]:
    # A fixed number of tokens: the weights are random, so sequences would end at different tokens on each device.
    return {"max_new_tokens": count, "min_new_tokens": count, "pad_token_id": 0}


@program("transformers")
def qwen3_moe_generate() -> None:
    import transformers as tf

    config = tf.Qwen3MoeConfig(**_SMALL, head_dim=8, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=32)
    model = tf.Qwen3MoeForCausalLM(config).to("cuda", torch.bfloat16).eval()
    print(model.generate(**_ids(), **_fixed(), do_sample=False).tolist())


@program("transformers")
def gemma_sliding_window_generate() -> None:
    import transformers as tf

    config = tf.Gemma2Config(**_SMALL, head_dim=8, sliding_window=4)
    model = tf.Gemma2ForCausalLM(config).cuda().eval()
    model.generate(**_ids(), **_fixed(), do_sample=True, top_p=0.9)


@program("transformers")
def mamba_generate() -> None:
    import transformers as tf

    config = tf.MambaConfig(vocab_size=128, hidden_size=32, state_size=8, num_hidden_layers=2, eos_token_id=127)
    model = tf.MambaForCausalLM(config).cuda().eval()
    model.generate(**_ids(), **_fixed(), do_sample=False)


@program("transformers")
def mamba2_forward_and_train() -> None:
    import transformers as tf

    config = tf.Mamba2Config(
        vocab_size=64, hidden_size=32, state_size=8, num_hidden_layers=1, head_dim=16, num_heads=4, n_groups=1
    )
    model = tf.Mamba2ForCausalLM(config).cuda()
    ids = torch.randint(0, 64, (2, 16), device="cuda")
    loss = model(ids, labels=ids).loss
    loss.backward()
    print(loss.item())


@program("transformers")
def t5_beam_search() -> None:
    import transformers as tf

    config = tf.T5Config(
        vocab_size=128,
        d_model=32,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
        eos_token_id=127,
        pad_token_id=0,
    )
    model = tf.T5ForConditionalGeneration(config).cuda().eval()
    out = model.generate(
        **_ids(),
        num_beams=3,
        num_return_sequences=2,
        **_fixed(),
        length_penalty=0.8,
        output_scores=True,
        return_dict_in_generate=True,
    )
    print(out.sequences_scores.tolist())


@program("transformers")
def bart_summarize_with_constraints() -> None:
    import transformers as tf

    config = tf.BartConfig(
        vocab_size=128,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=64,
        eos_token_id=127,
        forced_eos_token_id=127,
        pad_token_id=1,
    )
    model = tf.BartForConditionalGeneration(config).cuda().eval()
    model.generate(
        **_ids(), num_beams=2, max_new_tokens=6, min_new_tokens=6, no_repeat_ngram_size=2, early_stopping=True
    )


@program("transformers")
def streaming_generation_with_stopping() -> None:
    import transformers as tf

    model = tf.LlamaForCausalLM(tf.LlamaConfig(**_SMALL)).cuda().eval()

    class Printer:
        def put(self, value: torch.Tensor) -> None:
            print(value.tolist(), flush=True)

        def end(self) -> None:
            print()

    class StopOnWord(tf.StoppingCriteria):
        def __call__(self, input_ids, scores, **options):  # noqa: ANN001, ANN003, ANN204
            return torch.full((input_ids.shape[0],), bool((input_ids[:, -1] == 999).any()), device=input_ids.device)

    class Bias(tf.LogitsProcessor):
        def __call__(self, input_ids, scores):  # noqa: ANN001, ANN204
            scores[:, 5] += 1.0
            return scores

    model.generate(
        **_ids(1),
        **_fixed(),
        streamer=Printer(),
        stopping_criteria=tf.StoppingCriteriaList([StopOnWord()]),
        logits_processor=tf.LogitsProcessorList([Bias()]),
        repetition_penalty=1.1,
        do_sample=True,
        temperature=0.8,
        min_p=0.05,
    )


@program("transformers")
def manual_kv_cache_decode() -> None:
    import transformers as tf

    model = tf.LlamaForCausalLM(tf.LlamaConfig(**_SMALL)).cuda().eval()
    inputs = _ids()
    cache = tf.DynamicCache()
    generated = inputs["input_ids"]
    finished = torch.zeros(2, dtype=torch.bool, device="cuda")
    with torch.inference_mode():
        ids = generated
        for _ in range(5):
            logits = model(ids, past_key_values=cache, use_cache=True).logits[:, -1]
            values, _ = torch.topk(logits, 10)
            logits[logits < values[:, [-1]]] = -float("inf")
            ids = torch.multinomial(logits.softmax(-1), num_samples=1)
            generated = torch.cat([generated, ids], dim=1)
            finished |= ids.squeeze(-1) == 127
            if finished.all():
                break
    print(generated[0].cpu().numpy())


@program("transformers")
def static_cache_with_offloaded_copy() -> None:
    import transformers as tf

    model = tf.LlamaForCausalLM(tf.LlamaConfig(**_SMALL)).cuda().eval()
    model.generate(**_ids(), **_fixed(), do_sample=False, cache_implementation="static", disable_compile=True)
    model.generate(**_ids(), **_fixed(), do_sample=False, cache_implementation="offloaded")
    model.generate(**_ids(1), **_fixed(), do_sample=False, prompt_lookup_num_tokens=2)


@program("transformers")
def speculative_decoding() -> None:
    import transformers as tf

    target = tf.LlamaForCausalLM(tf.LlamaConfig(**_SMALL)).cuda().eval()
    draft = tf.LlamaForCausalLM(tf.LlamaConfig(**{**_SMALL, "num_hidden_layers": 1})).cuda().eval()
    ids = _ids(1)["input_ids"]
    with torch.no_grad():
        proposal = ids
        for _ in range(3):
            proposal = torch.cat([proposal, draft(proposal).logits[:, -1:].argmax(-1)], -1)
        verified = target(proposal).logits[:, ids.size(1) - 1 :].argmax(-1)
        agree = (verified[:, :-1] == proposal[:, ids.size(1) :]).int().cumprod(-1)
        accepted = agree.sum().item()
    print(accepted, verified[0, :accepted].tolist())


@program("transformers")
def vision_encoder_decoder_caption() -> None:
    import transformers as tf

    encoder = tf.ViTConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
    )
    decoder = tf.GPT2Config(vocab_size=64, n_positions=32, n_embd=32, n_layer=1, n_head=2, eos_token_id=63)
    config = tf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id = 1, 0
    model = tf.VisionEncoderDecoderModel(config).cuda().eval()
    model.generate(torch.rand(2, 3, 32, 32, device="cuda"), decoder_start_token_id=1, **_fixed())


@program("transformers")
def detr_detection_forward_and_loss() -> None:
    import transformers as tf

    config = tf.YolosConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=[32, 32],
        patch_size=8,
        num_detection_tokens=6,
        num_labels=4,
    )
    model = tf.YolosForObjectDetection(config).cuda()
    labels = [
        {
            "class_labels": torch.tensor([1, 2], device="cuda"),
            "boxes": torch.tensor([[0.5, 0.5, 0.2, 0.2], [0.3, 0.3, 0.1, 0.1]], device="cuda"),
        }
        for _ in range(2)
    ]
    out = model(torch.rand(2, 3, 32, 32, device="cuda"), labels=labels)
    out.loss.backward()
    probabilities = out.logits.softmax(-1)[0, :, :-1]
    keep = probabilities.max(-1).values > 0.2
    print({name: value.item() for name, value in out.loss_dict.items()}, out.pred_boxes[0, keep].tolist())


@program("transformers")
def clip_zero_shot() -> None:
    import transformers as tf

    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = tf.CLIPConfig(
        text_config={**small, "vocab_size": 64, "max_position_embeddings": 16, "eos_token_id": 63},
        vision_config={**small, "image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    model = tf.CLIPModel(config).cuda().eval()
    ids = torch.randint(0, 62, (3, 8), device="cuda")
    ids[:, -1] = 63
    with torch.no_grad():
        out = model(
            input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=torch.rand(2, 3, 32, 32, device="cuda")
        )
    print(out.logits_per_image.softmax(dim=1).cpu().numpy().round(2))


@program("transformers")
def qwen2_vl_image_prompt() -> None:
    import transformers as tf

    text = {**_SMALL, "rope_scaling": {"type": "mrope", "mrope_section": [2, 1, 1]}}
    vision = {"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "patch_size": 4, "mlp_ratio": 2}
    config = tf.Qwen2VLConfig(
        text_config=text, vision_config=vision, image_token_id=120, vision_start_token_id=121, vision_end_token_id=122
    )
    model = tf.Qwen2VLForConditionalGeneration(config).cuda().eval()
    ids = torch.tensor([[5, 6, 121, 120, 120, 120, 120, 122, 7, 8]], device="cuda")
    model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        pixel_values=torch.rand(16, 3 * 2 * 4 * 4, device="cuda"),
        image_grid_thw=torch.tensor([[1, 4, 4]], device="cuda"),
        mm_token_type_ids=(ids == 120).int(),
        **_fixed(),
        do_sample=False,
    )


@program("transformers")
def question_answering_spans() -> None:
    import transformers as tf

    config = tf.DistilBertConfig(vocab_size=100, dim=32, n_layers=1, n_heads=2, hidden_dim=32)
    model = tf.DistilBertForQuestionAnswering(config).cuda().eval()
    ids = torch.randint(0, 99, (2, 20), device="cuda")
    with torch.no_grad():
        out = model(ids)
    start, end = torch.argmax(out.start_logits, -1), torch.argmax(out.end_logits, -1)
    for row in range(2):
        print(ids[row, start[row] : end[row] + 1].tolist())
    positions = torch.tensor([2, 30], device="cuda")
    model(ids, start_positions=positions, end_positions=positions).loss.backward()


@program("transformers")
def save_and_load_pretrained() -> None:
    import tempfile

    import transformers as tf

    with tempfile.TemporaryDirectory() as folder:
        tf.LlamaForCausalLM(tf.LlamaConfig(**_SMALL)).cuda().save_pretrained(folder)
        model = tf.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float16).to("cuda")
        model.resize_token_embeddings(136)
        print(sum(each.numel() for each in model.parameters()), model.dtype, model.device)
        model.eval()(torch.arange(6, device=model.device)[None])
