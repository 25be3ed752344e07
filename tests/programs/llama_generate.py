"""A user's script, unmodified: builds a tiny random Llama on the GPU and generates."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

torch.manual_seed(0)
config = LlamaConfig(
    vocab_size=256,
    hidden_size=64,
    intermediate_size=128,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=128,
    pad_token_id=0,
    eos_token_id=255,
)
model = LlamaForCausalLM(config).to("cuda").eval()
prompt = torch.randint(1, 250, (2, 12), device="cuda")
tokens = model.generate(prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=8, do_sample=False)
print(tuple(tokens.shape))
