"""Exports networks of torchvision and timm, and compares the logits of eval-cli with PyTorch's.

    python scripts/exported-models.py [--eval-cli PATH] [--keep FOLDER] [NAME...]

Makes the table of Documentation/pytorch.md: each network with random weights (seed 0), two images, a dynamic
batch. A line for each: the seconds that `inspect` takes, the largest difference of logits relative to the
largest logit, and the difference of loss and gradient norm from those in double precision. Names are looked
for in torchvision first, then in timm; without names: those of the table. Needs torch, torchvision, timm and
numpy.
"""

import argparse
import csv
import re
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision

TORCHVISION = """alexnet vgg11_bn resnet18 resnet50 wide_resnet50_2 resnext50_32x4d densenet121 googlenet
inception_v3 mobilenet_v2 mobilenet_v3_small squeezenet1_1 shufflenet_v2_x1_0 efficientnet_b0
efficientnet_v2_s regnet_y_400mf mnasnet0_5 convnext_tiny vit_b_16 swin_t swin_v2_t maxvit_t""".split()
TIMM = """vit_tiny_patch16_224 deit_tiny_patch16_224 swin_tiny_patch4_window7_224 convnext_atto mixer_s32_224
resmlp_12_224 gmlp_ti16_224 poolformer_s12 mobilenetv3_small_050 ghostnet_050 levit_128s mobilevit_xxs
crossvit_tiny_240""".split()


def network(name):
    """The network in evaluation mode, and the side of its images."""
    torch.manual_seed(0)
    if name in torchvision.models.list_models():
        options = {}
        if name in ("googlenet", "inception_v3"):
            # Their own first weights are so small that nothing but the last bias is left.
            options = {"aux_logits": False, "init_weights": False}
        model = torchvision.models.get_model(name, weights=None, **options)
        return model.eval(), 299 if name == "inception_v3" else 224
    model = timm.create_model(name, pretrained=False)
    size = model.default_cfg.get("test_input_size", model.default_cfg["input_size"])[-1]
    if model.default_cfg.get("fixed_input_size"):
        size = model.default_cfg["input_size"][-1]
    return model.eval(), size


def run(*words):
    """What a command prints."""
    result = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"{' '.join(map(str, words))}: exit {result.returncode}\n{result.stderr}")
    return result.stdout


def check(name, command, folder):
    model, side = network(name)
    images, labels = torch.randn(2, 3, side, side), torch.tensor([0, 1])
    with torch.no_grad():
        logits = model(images)
    batch = {0: torch.export.Dim("batch")}
    program = torch.export.export(model, (images,), dynamic_shapes=(batch,))
    torch.export.save(program, folder / f"{name}.pt2")
    np.savez(folder / f"{name}.npz", inputs=images, labels=labels)
    np.savez(folder / f"{name}-logits.npz", logits=logits)

    files = [folder / f"{name}.pt2", "--data", folder / f"{name}.npz"]
    began = time.monotonic()
    text = run(command, "inspect", *files, "--against", folder / f"{name}-logits.npz")
    seconds = time.monotonic() - began
    difference = re.search(r"largest difference (\S+)", text)
    # A head of zeros has no largest logit.
    difference = difference[1] if difference else "0"

    # The loss and the gradient, summed over the samples. The reference is nothing that is asked for.
    output = folder / f"{name}-scores"
    run(command, "score", *files, "--batch-size", 2, "--batches", 1, "--methods", "sgd",
        "--cg-iterations", 1, "--output", output)
    with open(output / "batches.csv") as file:
        found = next(csv.DictReader(file))
    model = model.double()
    loss = torch.nn.functional.cross_entropy(model(images.double()), labels, reduction="sum")
    gradients = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])
    expected = {
        "loss": loss.item(),
        "gradient_norm": sum(g.square().sum() for g in gradients).sqrt().item(),
    }
    off = max(abs(float(found[key]) / value - 1) for key, value in expected.items())
    return f"{name:30} {seconds:6.1f} s   logits {difference}   loss and gradient {off:.0e}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--eval-cli", default=".build/release/eval-cli")
    parser.add_argument("--keep", help="a folder for networks, data and scores")
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(options.keep or temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in options.names or TORCHVISION + TIMM:
            print(check(name, options.eval_cli, folder), flush=True)


if __name__ == "__main__":
    main()
