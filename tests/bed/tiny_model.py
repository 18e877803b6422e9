"""Makes a tiny Llama of random weights, with a tokenizer of its own and a chat template; run by the engine's Python.

python tiny_model.py FOLDER
"""

import json
import sys
from pathlib import Path

SEED = 1
VOCABULARY = 1024
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 2048,
    "vocab_size": VOCABULARY,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "attention_bias": False,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "torch_dtype": "bfloat16",
}
TEMPLATE = (
    "{% for message in messages %}<s>{{ message['role'] }}: {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
TEXTS = "/usr/share/common-licenses"


def weights(folder: Path) -> None:
    import torch  # type: ignore[import-not-found]  # the engine's Python has it
    from safetensors.torch import save_file  # type: ignore[import-not-found]

    hidden, wide, heads, key_heads, size = 128, 256, 4, 2, 32
    torch.manual_seed(SEED)

    def some(*shape: int) -> "torch.Tensor":
        return (torch.randn(*shape) * 0.02).to(torch.bfloat16)

    tensors = {
        "model.embed_tokens.weight": some(VOCABULARY, hidden),
        "lm_head.weight": some(VOCABULARY, hidden),
        "model.norm.weight": torch.ones(hidden, dtype=torch.bfloat16),
    }
    for number in range(2):
        layer = f"model.layers.{number}"
        tensors |= {
            f"{layer}.self_attn.q_proj.weight": some(heads * size, hidden),
            f"{layer}.self_attn.k_proj.weight": some(key_heads * size, hidden),
            f"{layer}.self_attn.v_proj.weight": some(key_heads * size, hidden),
            f"{layer}.self_attn.o_proj.weight": some(hidden, heads * size),
            f"{layer}.mlp.gate_proj.weight": some(wide, hidden),
            f"{layer}.mlp.up_proj.weight": some(wide, hidden),
            f"{layer}.mlp.down_proj.weight": some(hidden, wide),
            f"{layer}.input_layernorm.weight": torch.ones(hidden, dtype=torch.bfloat16),
            f"{layer}.post_attention_layernorm.weight": torch.ones(hidden, dtype=torch.bfloat16),
        }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def tokenizer(folder: Path) -> None:
    from tokenizers import (  # type: ignore[import-not-found]
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
        trainers,
    )

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train(sorted(str(path) for path in Path(TEXTS).iterdir() if path.is_file()), trainer)
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "bos_token": "<s>",
                "eos_token": "</s>",
                "model_max_length": 2048,
                "chat_template": TEMPLATE,
            }
        )
    )


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    (target / "config.json").write_text(json.dumps(CONFIG))
    (target / "generation_config.json").write_text(json.dumps({"bos_token_id": 0, "eos_token_id": 1}))
    tokenizer(target)
    weights(target)
