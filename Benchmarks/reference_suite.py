"""Trains small networks on data from seeds and times the reference of one batch of each (reference-suite.sh)."""

import csv
import json
import os
import random
import resource
import struct
import subprocess
import sys

work, gap, rounds, wanted, trainer = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5]
clis = sys.argv[6:]
SOLVERS = ("cg", "lsqr", "gram", "leading", "auto")
FIXTURES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "fixtures")


def safetensors(path, tensors):
    """{name: (dtype, shape, values)}"""
    header, blob = {}, b""
    for name, (dtype, shape, values) in tensors.items():
        data = struct.pack("<%d%s" % (len(values), {"F32": "f", "I64": "q"}[dtype]), *values)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(blob), len(blob) + len(data)]}
        blob += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + blob)


def run(*arguments):
    """Processor seconds of a command, or None with its last line."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(arguments, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        return None, (done.stderr.strip().splitlines() or ["?"])[-1]
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def images(classes, channels, size, samples, noise, seed):
    """Of each class one picture, and noise."""
    draw = random.Random(seed)
    count = channels * size * size
    means = [[draw.gauss(0, 1) for _ in range(count)] for _ in range(classes)]
    labels = [draw.randrange(classes) for _ in range(samples)]
    values = [m + noise * draw.gauss(0, 1) for y in labels for m in means[y]]
    return labels, values


def tokens(samples, length, words, groups, seed):
    """Sequences of which one word, at a random place, says the label; the others say nothing."""
    draw = random.Random(seed)
    labels = [draw.randrange(groups) for _ in range(samples)]
    rows = []
    for y in labels:
        row = [draw.randrange(groups + 2, words) for _ in range(length)]
        row[draw.randrange(length)] = 2 + y
        rows += row
    return labels, rows


# MARK: cases: a checkpoint and what else `score` is given, by name


def digits():
    for epoch in ("00", "01", "03", "10", "20", "40"):
        yield "digits, epoch " + epoch, [os.path.join(FIXTURES, "digits", "epoch-%s.bin" % epoch)], []


def golden():
    for name in ("tokens_ignore", "mlp_trained", "cnn_small", "mse_mlp"):
        yield "golden/" + name, [os.path.join(FIXTURES, "golden", name + ".bin")], []


def trained(model, data, name, epochs, shown, *options):
    out = os.path.join(work, name)
    if not os.path.isdir(out):
        seconds, text = run(trainer, "train", *model, "--data", data, "-o", out, "--epochs", str(epochs), *options)
        if seconds is None:
            sys.exit(name + ": " + text)
    for epoch in shown:
        found = [f for f in sorted(os.listdir(out)) if "epoch-%02d" % epoch in f]
        yield epoch, os.path.join(out, found[0])


def cnn():
    labels, values = images(100, 3, 16, 4000, 2.0, 1)
    data = os.path.join(work, "cnn.safetensors")
    safetensors(data, {"inputs": ("F32", [4000, 3, 16, 16], values), "labels": ("I64", [4000], labels)})
    layers, channels = [], 3
    for block, (width, size) in enumerate(((32, 16), (64, 8))):
        layers += [
            {"type": "conv2d", "name": "c%d" % block, "in_channels": channels, "out_channels": width,
             "kernel_size": 3, "padding": 1},
            {"type": "relu"}, {"type": "max_pool2d", "kernel_size": 2}]
        channels = width
    layers += [{"type": "flatten"}, {"type": "linear", "name": "head", "in_features": 64 * 16, "out_features": 100}]
    model = os.path.join(work, "cnn.json")
    json.dump({"type": "sequential", "input_shape": [3, 16, 16], "layers": layers}, open(model, "w"))
    for epoch, path in trained([model], data, "cnn", 12, (0, 1, 2, 4, 8, 12)):
        yield "CNN, 100 classes, epoch %d" % epoch, [path], ["--data", data, "--batch-size", "128"]


def with_lora(name, base, data, epochs, shown, *options, **changes):
    """A small model of a family, made from a configuration of fixtures and trained with LoRA."""
    config = os.path.join(work, name + ".json")
    settings = json.load(open(os.path.join(FIXTURES, "configs", base)))
    json.dump(dict(settings, **changes), open(config, "w"))
    folder = os.path.join(work, name + "-model")
    if not os.path.isdir(folder):
        run(trainer, "init", config, "-o", folder, "--lora")
    return trained([folder, "--adapter", folder + "/adapter"], data, name, epochs, shown, *options)


def vit():
    labels, values = images(20, 3, 32, 1200, 1.5, 2)
    data = os.path.join(work, "vit.safetensors")
    safetensors(data, {"inputs": ("F32", [1200, 3, 32, 32], values), "labels": ("I64", [1200], labels)})
    stages = with_lora(
        "vit", "vit-base.json", data, 12, (0, 2, 5, 12), "--learning-rate", "5e-3", "--trainable", "*lora*",
        "--trainable", "*classifier*", hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=128, image_size=32, patch_size=8, id2label={str(i): str(i) for i in range(20)},
        label2id={str(i): i for i in range(20)})
    for epoch, path in stages:
        yield "ViT with LoRA, epoch %d" % epoch, [path], ["--data", data, "--batch-size", "128"]


def t5():
    labels, rows = tokens(320, 8, 1000, 4, 3)
    data = os.path.join(work, "t5.safetensors")
    safetensors(data, {
        "input_ids": ("I64", [320, 8], rows), "attention_mask": ("I64", [320, 8], [1] * len(rows)),
        "labels": ("I64", [320, 1], [1000 + y for y in labels])})
    stages = with_lora(
        "t5", "t5-base.json", data, 3, (0, 1, 2, 3), "--learning-rate", "1e-2", "--trainable", "*lora*",
        "--trainable", "lm_head*", d_model=64, d_kv=16, d_ff=128, num_layers=2, num_decoder_layers=2, num_heads=4,
        tie_word_embeddings=False)
    for epoch, path in stages:
        yield "T5, 32,128 words, epoch %d" % epoch, [path], ["--data", data, "--batch-size", "32"]


CASES = {"digits": digits, "golden": golden, "cnn": cnn, "vit": vit, "t5": t5}


def measured(cli, checkpoint, options, *more):
    """Least processor time, and the row of batches.csv."""
    out = os.path.join(work, "out")
    best = None
    for _ in range(rounds):
        seconds, text = run(cli, "score", *checkpoint, *options, "--batches", "1", "--precision", "float32",
                            "--cg-gap", gap, *more, "--quiet", "--force", "--output", out)
        if seconds is None:
            return None, text
        best = seconds if best is None else min(best, seconds)
    with open(os.path.join(out, "batches.csv")) as file:
        return best, next(csv.DictReader(file))


def main():
    names = CASES if wanted == "all" else wanted.split()
    columns = [(cli, solver) for cli in clis for solver in SOLVERS if solver != "leading" or cli == clis[-1]]
    print("| case | loss | alg4 | " + " | ".join(
        solver + ("" if len(clis) == 1 else " (%s)" % ("after" if cli == clis[-1] else "before"))
        for cli, solver in columns) + " |")
    print("| --- | ---: |" + " ---: |" * (len(columns) + 1))
    for name in names:
        for title, checkpoint, options in CASES[name]():
            alone, row = measured(clis[-1], checkpoint, options, "--methods", "sgd", "--reference", "none")
            if alone is None:
                print("| %s | %s |" % (title, row), flush=True)
                continue
            all_four, _ = measured(clis[-1], checkpoint, options, "--methods", "sgd,ef,ief,sf", "--reference", "none")
            cells = [title, "%.2g" % float(row["mean_loss"]), "%.1f" % (1e3 * all_four)]
            for cli, solver in columns:
                seconds, row = measured(cli, checkpoint, options, "--methods", "sgd", "--reference", solver)
                if seconds is None:
                    cells.append("-")
                    continue
                bound = float(row["reference_excess_bound"] or "nan")
                short = row.get("reference_excess_short")
                bracket = "%.2g %%" % (100 * (float(short) if short else bound))
                took = row["reference_iterations"] or row["reference_solver"]
                if solver == "auto" and row["reference_iterations"]:
                    took = "cg " + took
                cells.append("%.1f (%s; %s)" % (1e3 * max(seconds - alone, 0), took, bracket))
            print("| " + " | ".join(cells) + " |", flush=True)


main()
