"""Writes two networks as exported programs with their data, for Benchmarks/results:

    exported.py FOLDER

resnet18/ (net.pt2, data.npz): what `run_peers.py --workload resnet18` times on the side of torch.
vit/ (net.pt2, data.npz, base, adapter, data.safetensors): ViT-B/16 with LoRA, as an exported program
and as the folders of Transformers and PEFT.
"""

import os
import sys

import numpy as np
import torch

import common
import torch_peers


def export(net, x, path):
    batch = torch.export.Dim("batch", min=2, max=1024)
    with torch.no_grad():
        torch.export.save(torch.export.export(net.eval(), (x,), dynamic_shapes=({0: batch},)), path)


class Logits(torch.nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, pixel_values):
        return self.net(pixel_values=pixel_values).logits


def main(folder):
    for name in ("resnet18", "vit"):
        os.makedirs(f"{folder}/{name}", exist_ok=True)
    work = torch_peers.Work("resnet18")
    export(work.model, work.x, f"{folder}/resnet18/net.pt2")
    np.savez(f"{folder}/resnet18/data.npz", inputs=work.x.numpy(), labels=work.y.numpy())

    from peft import LoraConfig, get_peft_model
    from safetensors.torch import save_file
    from transformers import ViTConfig, ViTForImageClassification

    x, y, _ = common.data("W3")
    torch.manual_seed(common.SEED)
    base = ViTForImageClassification(ViTConfig(num_labels=1000))
    base.save_pretrained(f"{folder}/vit/base")
    names = {n.split(".")[-1] for n, _ in base.named_modules()}
    targets = ["query", "value"] if "query" in names else ["q_proj", "v_proj"]
    net = get_peft_model(base, LoraConfig(r=8, lora_alpha=8, target_modules=targets,
                                          init_lora_weights=False))
    net.save_pretrained(f"{folder}/vit/adapter")
    export(Logits(net), torch.from_numpy(x), f"{folder}/vit/net.pt2")
    np.savez(f"{folder}/vit/data.npz", pixel_values=x, labels=y)
    save_file({"pixel_values": torch.from_numpy(x), "labels": torch.from_numpy(y)},
              f"{folder}/vit/data.safetensors")


main(sys.argv[1])
