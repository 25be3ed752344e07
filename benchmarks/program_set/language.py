"""Programs that train and tune language models: trainers, adapters, preference losses, embeddings."""

from __future__ import annotations

import tempfile
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from benchmarks.program_set.registry import program


def _llama(**changes: Any) -> Any:
    import transformers as tf

    shape = {
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
    return tf.LlamaForCausalLM(tf.LlamaConfig(**{**shape, **changes}))


def _rows(count: int = 16, length: int = 12) -> list[dict[str, torch.Tensor]]:
    rows = []
    for _ in range(count):
        ids = torch.randint(2, 120, (length,))
        rows.append({"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.clone()})
    return rows


@program("transformers", "accelerate")
def hf_trainer_fit_and_evaluate() -> None:
    import transformers as tf

    with tempfile.TemporaryDirectory() as folder:
        arguments = tf.TrainingArguments(
            folder,
            max_steps=4,
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            logging_steps=2,
            eval_strategy="steps",
            eval_steps=4,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            bf16=True,
            optim="adamw_torch_fused",
        )

        def metrics(predicted: Any) -> dict[str, float]:
            return {"accuracy": float((predicted.predictions.argmax(-1) == predicted.label_ids).mean())}

        trainer = tf.Trainer(_llama(), arguments, train_dataset=_rows(), eval_dataset=_rows(8), compute_metrics=metrics)
        trainer.train()
        print(trainer.evaluate())


@program("transformers", "accelerate")
def hf_trainer_classifier_with_checkpoint() -> None:
    import transformers as tf

    config = tf.BertConfig(
        vocab_size=100, hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, num_labels=3
    )
    rows = [
        {"input_ids": torch.randint(1, 99, (10,)), "attention_mask": torch.ones(10, dtype=torch.long), "labels": i % 3}
        for i in range(12)
    ]
    with tempfile.TemporaryDirectory() as folder:
        arguments = tf.TrainingArguments(
            folder,
            num_train_epochs=1,
            per_device_train_batch_size=4,
            save_strategy="epoch",
            eval_strategy="epoch",
            load_best_model_at_end=True,
            logging_steps=1,
            report_to=[],
            disable_tqdm=True,
            max_grad_norm=1.0,
            lr_scheduler_type="cosine",
            warmup_steps=1,
        )
        trainer = tf.Trainer(tf.BertForSequenceClassification(config), arguments, train_dataset=rows, eval_dataset=rows)
        trainer.train()
        print(trainer.predict(rows).metrics)


@program("peft", "transformers")
def peft_lora_training_and_merge() -> None:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], lora_dropout=0.1, task_type="CAUSAL_LM")
    model = get_peft_model(_llama().to("cuda"), config)
    model.print_trainable_parameters()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    for row in _rows(2):
        batch = {name: value[None].to("cuda") for name, value in row.items()}
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print(loss.item())
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
    merged = model.merge_and_unload().eval()
    with torch.no_grad():
        merged(torch.arange(8, device="cuda")[None])


@program("peft", "transformers")
def peft_dora_and_ia3_adapters() -> None:
    from peft import IA3Config, LoraConfig, get_peft_model

    ids = torch.randint(2, 120, (2, 8)).cuda()
    dora = get_peft_model(_llama(), LoraConfig(r=2, use_dora=True, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    dora = dora.to("cuda")
    dora(ids, labels=ids).loss.backward()
    ia3 = get_peft_model(
        _llama(), IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"])
    ).cuda()
    ia3(ids, labels=ids).loss.backward()
    dora.add_adapter("other", LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    dora.set_adapter("other")
    with dora.disable_adapter():
        dora(ids)


@program("peft", "transformers")
def peft_prompt_tuning_generate() -> None:
    from peft import PromptTuningConfig, get_peft_model

    model = get_peft_model(_llama(), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)).cuda()
    ids = torch.randint(2, 120, (2, 6), device="cuda")
    model(input_ids=ids, attention_mask=torch.ones_like(ids), labels=ids).loss.backward()
    model.eval()
    model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, min_new_tokens=4)


@program("trl", "transformers", "datasets", "accelerate")
def trl_sft_trainer() -> None:
    import transformers as tf
    from datasets import Dataset
    from tokenizers import Tokenizer, models, pre_tokenizers
    from trl import SFTConfig, SFTTrainer

    words = {f"w{index}": index + 4 for index in range(60)}
    tokenizer = Tokenizer(models.WordLevel({"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, **words}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = tf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", bos_token="<s>", unk_token="<unk>"
    )
    data = Dataset.from_list([{"text": " ".join(f"w{(i * j) % 60}" for j in range(8))} for i in range(8)])
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            folder,
            max_steps=2,
            per_device_train_batch_size=2,
            logging_steps=1,
            report_to=[],
            save_strategy="no",
            disable_tqdm=True,
            bf16=False,
        )
        model = _llama(eos_token_id=2, pad_token_id=0)
        SFTTrainer(model=model, args=arguments, train_dataset=data, processing_class=fast).train()


@program("transformers")
def dpo_loss_by_hand() -> None:
    policy, reference = _llama().cuda(), _llama().cuda().eval()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-5)

    def log_probs(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        logits = model(ids, attention_mask=(ids != 0).long()).logits[:, :-1].log_softmax(-1)
        picked = logits.gather(-1, ids[:, 1:, None]).squeeze(-1)
        return (picked * mask[:, 1:]).sum(-1)

    for _ in range(2):
        chosen, rejected = torch.randint(2, 120, (2, 10)).cuda(), torch.randint(2, 120, (2, 10)).cuda()
        mask = torch.ones(2, 10, device="cuda")
        mask[:, :4] = 0
        with torch.no_grad():
            before = log_probs(reference, chosen, mask) - log_probs(reference, rejected, mask)
        margin = log_probs(policy, chosen, mask) - log_probs(policy, rejected, mask) - before
        loss = -F.logsigmoid(0.1 * margin).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        print({"loss": loss.item(), "accuracy": (margin > 0).float().mean().item()})


@program("transformers")
def masked_language_modelling() -> None:
    import transformers as tf

    model = tf.BertForMaskedLM(
        tf.BertConfig(vocab_size=100, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    ).cuda()
    ids = torch.randint(5, 99, (4, 16), device="cuda")
    labels = ids.clone()
    masked = torch.bernoulli(torch.full(labels.shape, 0.15, device="cuda")).bool()
    labels[~masked] = -100
    replaced = torch.bernoulli(torch.full(labels.shape, 0.8, device="cuda")).bool() & masked
    ids[replaced] = 4
    random = torch.bernoulli(torch.full(labels.shape, 0.5, device="cuda")).bool() & masked & ~replaced
    words = torch.randint(99, labels.shape, dtype=torch.long, device="cuda")
    ids[random] = words[random]
    loss = model(ids, labels=labels).loss
    loss.backward()
    perplexity = torch.exp(loss)
    print(f"perplexity {perplexity}")


@program("transformers")
def sequence_packing_with_positions() -> None:
    model = _llama().cuda()
    lengths = [5, 9, 3]
    ids = torch.cat([torch.randint(2, 120, (each,)) for each in lengths]).cuda()[None]
    positions = torch.cat([torch.arange(each) for each in lengths]).to("cuda")[None]
    bounds = torch.tensor([0, *lengths]).cumsum(0).to("cuda", torch.int32)
    labels = ids.clone()
    labels[0, bounds[:-1].long()] = -100
    document = torch.repeat_interleave(torch.arange(3, device="cuda"), bounds.diff())
    allowed = (document[:, None] == document[None]) & torch.ones(17, 17, device="cuda").tril().bool()
    bias = torch.zeros(17, 17, device="cuda").masked_fill(~allowed, torch.finfo(torch.float32).min)
    loss = model(ids, attention_mask=bias[None, None], position_ids=positions, labels=labels).loss
    loss.backward()
    print(loss.detach().cpu().numpy(), bounds.diff().max().item())


@program("sentence_transformers", "transformers")
def sentence_transformers_encode_and_train() -> None:
    import transformers as tf
    from sentence_transformers import SentenceTransformer, losses, util
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers import models as token_models

    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, **{f"w{i}": i + 4 for i in range(40)}}
    tokenizer = Tokenizer(token_models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    with tempfile.TemporaryDirectory() as folder:
        config = tf.BertConfig(
            vocab_size=44, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32
        )
        tf.BertModel(config).save_pretrained(folder)
        tf.PreTrainedTokenizerFast(
            tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
        ).save_pretrained(folder)
        model = SentenceTransformer(folder, device="cuda")
        corpus = model.encode(["w1 w2 w3", "w4 w5", "w6 w7 w8 w9"], convert_to_tensor=True, show_progress_bar=False)
        query = model.encode("w1 w2", convert_to_tensor=True, normalize_embeddings=True, show_progress_bar=False)
        print(util.semantic_search(query, corpus, top_k=2), model.similarity(corpus, corpus).tolist())
        model.encode(["w3 w3"], batch_size=1, show_progress_bar=False)
        features = [
            {name: value.to("cuda") for name, value in model.tokenize(texts).items() if torch.is_tensor(value)}
            for texts in (["w1 w2", "w5"], ["w2 w3", "w6 w7"])
        ]
        losses.MultipleNegativesRankingLoss(model)(features, None).backward()


@program("transformers")
def distillation_with_temperature() -> None:
    teacher, student = _llama(num_hidden_layers=3).cuda().eval(), _llama(num_hidden_layers=1).cuda()
    optimizer = torch.optim.AdamW(student.parameters())
    for row in _rows(2):
        ids = row["input_ids"][None].cuda()
        with torch.inference_mode():
            soft = (teacher(ids).logits / 2.0).softmax(-1)
        out = student(ids, labels=ids)
        loss = 0.5 * out.loss + 0.5 * F.kl_div((out.logits / 2.0).log_softmax(-1), soft.clone(), reduction="batchmean")
        loss.backward()
        grads = [each.grad for each in student.parameters() if each.grad is not None]
        norm = torch.nn.utils.get_total_norm(grads)
        torch.nn.utils.clip_grads_with_norm_(student.parameters(), 1.0, norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        print(f"{float(loss):.3f} {float(norm):.3f}")


@program("transformers")
def mixture_of_experts_train() -> None:
    import transformers as tf

    config = tf.MixtralConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        num_local_experts=4,
        num_experts_per_tok=2,
        output_router_logits=True,
    )
    model = tf.MixtralForCausalLM(config).cuda()
    ids = torch.randint(0, 64, (2, 8), device="cuda")
    out = model(ids, attention_mask=torch.ones_like(ids), labels=ids)
    out.loss.backward()
    print(out.loss.item(), out.aux_loss.item())


@program()
def mixture_of_experts_by_hand() -> None:
    experts = nn.ModuleList(nn.Sequential(nn.Linear(16, 32), nn.SiLU(), nn.Linear(32, 16)) for _ in range(4)).cuda()
    gate = nn.Linear(16, 4).cuda()
    tokens = torch.randn(64, 16, device="cuda")
    weights, chosen = gate(tokens).softmax(-1).topk(2, dim=-1)
    out = torch.zeros_like(tokens)
    for index, expert in enumerate(experts):
        rows, slot = torch.where(chosen == index)
        if rows.numel() == 0:
            continue
        out.index_add_(0, rows, expert(tokens[rows]) * weights[rows, slot, None])
    order = chosen.flatten().argsort(stable=True)
    counts = torch.bincount(chosen.flatten(), minlength=4).tolist()
    parts = tokens.repeat_interleave(2, 0)[order].split(counts)
    again = torch.cat([expert(part) for expert, part in zip(experts, parts, strict=True)])
    load = F.one_hot(chosen, 4).float().mean((0, 1))
    (out.sum() + again.sum() + (load * gate(tokens).softmax(-1).mean(0)).sum()).backward()


@program("entmax")
def sparse_attention_with_entmax() -> None:
    from entmax import entmax15, entmax_bisect, sparsemax

    scores = torch.randn(4, 16, device="cuda", requires_grad=True)
    values = torch.randn(16, 8, device="cuda")
    for weights in (sparsemax(scores, dim=-1), entmax15(scores, dim=-1), entmax_bisect(scores, alpha=1.3)):
        out = weights @ values
        out.sum().backward()
        print((weights == 0).float().mean().item())
