#!/usr/bin/env python3
"""Writes a Llama with random weights in BF16, a LoRA adapter on q and v, and sequences of tokens, as Transformers
and PEFT save them: what Documentation/peft.md measures. Needs numpy.

    python3 Benchmarks/llama.py FOLDER [--layers 16 --width 2048 --heads 32 --keys 8 --inner 8192 --vocabulary 128256]

By default it has the sizes of Llama 3.2 1B: 1,235,814,400 weights, 2.5 GB. `--dtype F32` writes the same numbers
widened. Then
    eval-cli score --model FOLDER/model FOLDER/adapter --data FOLDER/batch.safetensors --reference none
"""
import argparse
import json
import os

import numpy

SIZES = {"BF16": 2, "F32": 4, "I64": 8}


def rounded(values):
    """float32 to the nearest bfloat16, as its upper half."""
    bits = values.astype(numpy.float32).view(numpy.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def write(path, tensors):
    """tensors: name -> (dtype, shape, a function that gives pieces of bytes)"""
    header, end = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, _) in tensors.items():
        size = SIZES[dtype] * int(numpy.prod(shape))
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for _, _, pieces in tensors.values():
            for piece in pieces():
                file.write(piece)


def weight(random, shape, dtype, deviation=0.02):
    def pieces():
        rows = max(1, (1 << 24) // int(numpy.prod(shape[1:])))
        for first in range(0, shape[0], rows):
            part = (min(rows, shape[0] - first), *shape[1:])
            half = rounded(deviation * random.standard_normal(part, dtype=numpy.float32))
            yield half.tobytes() if dtype == "BF16" else (half.astype("<u4") << 16).tobytes()

    return dtype, list(shape), pieces


def constant(shape, value, dtype):
    half = rounded(numpy.full(shape, value, numpy.float32))
    data = half if dtype == "BF16" else half.astype("<u4") << 16
    return dtype, list(shape), lambda: [data.tobytes()]


def array(dtype, values):
    return dtype, list(values.shape), lambda: [values.tobytes()]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    for name, value in [("layers", 16), ("width", 2048), ("heads", 32), ("keys", 8), ("inner", 8192),
                        ("vocabulary", 128256), ("samples", 4), ("tokens", 128), ("rank", 8), ("seed", 1)]:
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--dtype", default="BF16", choices=["BF16", "F32"])
    a = parser.parse_args()
    random = numpy.random.default_rng(a.seed)
    head = a.width // a.heads
    model, adapter = os.path.join(a.folder, "model"), os.path.join(a.folder, "adapter")
    for path in (model, adapter):
        os.makedirs(path, exist_ok=True)
    with open(os.path.join(model, "config.json"), "w") as file:
        json.dump({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": False,
            "attention_dropout": 0.0, "bos_token_id": 0, "eos_token_id": 1, "head_dim": head, "hidden_act": "silu",
            "hidden_size": a.width, "initializer_range": 0.02, "intermediate_size": a.inner,
            "max_position_embeddings": 131072, "mlp_bias": False, "num_attention_heads": a.heads,
            "num_hidden_layers": a.layers, "num_key_value_heads": a.keys, "pretraining_tp": 1, "rms_norm_eps": 1e-05,
            "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                             "original_max_position_embeddings": 8192, "rope_type": "llama3"},
            "rope_theta": 500000.0, "tie_word_embeddings": True, "torch_dtype": "bfloat16", "use_cache": True,
            "vocab_size": a.vocabulary}, file, indent=1)
    with open(os.path.join(adapter, "adapter_config.json"), "w") as file:
        json.dump({
            "base_model_name_or_path": "", "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
            "lora_alpha": 16, "lora_dropout": 0.0, "modules_to_save": None, "peft_type": "LORA", "r": a.rank,
            "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}, file, indent=1)

    tensors = {"model.embed_tokens.weight": weight(random, (a.vocabulary, a.width), a.dtype)}
    lora = {}
    for layer in range(a.layers):
        name = f"model.layers.{layer}."
        tensors[name + "input_layernorm.weight"] = constant((a.width,), 1, a.dtype)
        for part, rows in [("q", a.heads), ("k", a.keys), ("v", a.keys)]:
            tensors[f"{name}self_attn.{part}_proj.weight"] = weight(random, (rows * head, a.width), a.dtype)
        tensors[name + "self_attn.o_proj.weight"] = weight(random, (a.width, a.heads * head), a.dtype)
        tensors[name + "post_attention_layernorm.weight"] = constant((a.width,), 1, a.dtype)
        tensors[name + "mlp.gate_proj.weight"] = weight(random, (a.inner, a.width), a.dtype)
        tensors[name + "mlp.up_proj.weight"] = weight(random, (a.inner, a.width), a.dtype)
        tensors[name + "mlp.down_proj.weight"] = weight(random, (a.width, a.inner), a.dtype)
    tensors["model.norm.weight"] = constant((a.width,), 1, a.dtype)
    write(os.path.join(model, "model.safetensors"), tensors)

    own = numpy.random.default_rng(a.seed + 1)
    for layer in range(a.layers):
        for part, rows in [("q", a.heads * head), ("v", a.keys * head)]:
            name = f"base_model.model.model.layers.{layer}.self_attn.{part}_proj."
            down = own.uniform(-1, 1, (a.rank, a.width)).astype("<f4") / numpy.float32(a.width) ** 0.5
            # PEFT begins with zeros, where A has no gradient.
            up = 0.01 * own.standard_normal((rows, a.rank), dtype=numpy.float32)
            lora[name + "lora_A.weight"] = array("F32", down.astype("<f4"))
            lora[name + "lora_B.weight"] = array("F32", up.astype("<f4"))
    write(os.path.join(adapter, "adapter_model.safetensors"), lora)

    tokens = own.integers(0, a.vocabulary, (a.samples, a.tokens)).astype("<i8")
    write(os.path.join(a.folder, "batch.safetensors"), {
        "input_ids": array("I64", tokens), "attention_mask": array("I64", numpy.ones_like(tokens)),
        "labels": array("I64", tokens)})


if __name__ == "__main__":
    main()
