"""The checkpoints of reference-suite.sh: fixtures, and small networks trained on data from seeds."""

import json
import os
import random
import struct
import subprocess
import sys

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


def images(classes, channels, size, samples, noise, seed):
    """Of each class one picture, and noise."""
    draw = random.Random(seed)
    count = channels * size * size
    means = [[draw.gauss(0, 1) for _ in range(count)] for _ in range(classes)]
    labels = [draw.randrange(classes) for _ in range(samples)]
    return labels, [m + noise * draw.gauss(0, 1) for y in labels for m in means[y]]


def marked_sequences(samples, length, words, groups, seed):
    """Sequences of which one word, at a random place, says the label; the others say nothing."""
    draw = random.Random(seed)
    labels = [draw.randrange(groups) for _ in range(samples)]
    rows = []
    for y in labels:
        row = [draw.randrange(groups + 2, words) for _ in range(length)]
        row[draw.randrange(length)] = 2 + y
        rows += row
    return labels, rows


def chains(samples, length, words, seed):
    """Sequences in which two words say the next one."""
    draw = random.Random(seed)
    following = [draw.randrange(words) for _ in range(words * words)]
    rows = []
    for _ in range(samples):
        row = [draw.randrange(words), draw.randrange(words)]
        while len(row) < length:
            row.append(following[row[-2] * words + row[-1]])
        rows += row
    return rows


class Cases:
    """Lists of (title, arguments of `score`, batches to measure), by name."""

    def __init__(self, work, trainer):
        self.work, self.trainer = work, trainer
        self.all = {
            "digits": self.digits, "golden": self.golden, "w1": self.w1, "cnn": self.cnn, "vit": self.vit,
            "t5": self.t5, "decoder": self.decoder}

    # MARK: - Fixtures

    def digits(self):
        for epoch in ("00", "01", "03", "10", "20", "40"):
            path = os.path.join(FIXTURES, "digits", "epoch-%s.bin" % epoch)
            yield "digits, epoch %d" % int(epoch), [path], 40

    def golden(self):
        for name in ("tokens_ignore", "mlp_trained", "cnn_small", "mse_mlp"):
            yield "golden/" + name, [os.path.join(FIXTURES, "golden", name + ".bin")], 400

    # MARK: - Random weights

    def w1(self):
        draw = random.Random(4)
        data = self.data("w1", lambda: {
            "inputs": ("F32", [160, 3072], [draw.gauss(0, 1) for _ in range(160 * 3072)]),
            "labels": ("I64", [160], [draw.randrange(10) for _ in range(160)])})
        sizes = (3072, 2048, 2048, 10)
        layers = []
        for index in range(3):
            layers += [{"type": "linear", "name": "fc%d" % index, "in_features": sizes[index],
                        "out_features": sizes[index + 1]}, {"type": "relu"}]
        model = self.description("w1", [3072], layers[:-1])
        path = os.path.join(self.work, "w1.bin")
        if not os.path.exists(path):
            self.run("init", model, "-o", path)
        yield "MLP W1, random weights, N = 40", [path, "--data", data, "--batch-size", "40"], 3

    # MARK: - Trained here, until nine of ten samples are right and beyond

    def cnn(self):
        def tensors():
            labels, values = images(100, 3, 16, 4000, 2.0, 1)
            return {"inputs": ("F32", [4000, 3, 16, 16], values), "labels": ("I64", [4000], labels)}

        data = self.data("cnn", tensors)
        layers, channels = [], 3
        for block, width in enumerate((32, 64)):
            layers += [
                {"type": "conv2d", "name": "c%d" % block, "in_channels": channels, "out_channels": width,
                 "kernel_size": 3, "padding": 1},
                {"type": "relu"}, {"type": "max_pool2d", "kernel_size": 2}]
            channels = width
        layers += [{"type": "flatten"},
                   {"type": "linear", "name": "head", "in_features": 64 * 16, "out_features": 100}]
        model = self.description("cnn", [3, 16, 16], layers)
        yield from self.stages("CNN, 100 classes", "cnn", [model], data, 8, (0, 1, 2, 3, 4, 8), 128, 4)

    def vit(self):
        def tensors():
            labels, values = images(20, 3, 32, 1200, 1.5, 2)
            return {"inputs": ("F32", [1200, 3, 32, 32], values), "labels": ("I64", [1200], labels)}

        names = [str(i) for i in range(20)]
        model = self.folder(
            "vit", "vit-base.json", "--lora", hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
            intermediate_size=128, image_size=32, patch_size=8, id2label=dict(zip(names, names)),
            label2id=dict(zip(names, range(20))))
        yield from self.stages(
            "ViT with LoRA", "vit", model, self.data("vit", tensors), 12, (0, 1, 2, 4, 12), 128, 4,
            "--learning-rate", "5e-3", "--trainable", "*lora*", "--trainable", "*classifier*")

    def t5(self):
        def tensors():
            labels, rows = marked_sequences(320, 8, 1000, 4, 3)
            return {"input_ids": ("I64", [320, 8], rows), "attention_mask": ("I64", [320, 8], [1] * len(rows)),
                    "labels": ("I64", [320, 1], [1000 + y for y in labels])}

        model = self.folder(
            "t5", "t5-base.json", "--lora", d_model=64, d_kv=16, d_ff=128, num_layers=2, num_decoder_layers=2,
            num_heads=4, tie_word_embeddings=False)
        yield from self.stages(
            "T5, 32,128 words", "t5", model, self.data("t5", tensors), 3, (0, 1, 2, 3), 32, 4,
            "--learning-rate", "1e-2", "--trainable", "*lora*", "--trainable", "lm_head*")

    def decoder(self):
        def tensors():
            rows = chains(160, 8, 100, 5)
            # The first words follow from nothing.
            labels = [-100 if place % 8 < 2 else word for place, word in enumerate(rows)]
            return {"input_ids": ("I64", [160, 8], rows), "attention_mask": ("I64", [160, 8], [1] * len(rows)),
                    "labels": ("I64", [160, 8], labels)}

        model = self.folder(
            "decoder", "llama-360m.json", hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, head_dim=8, vocab_size=100)
        yield from self.stages(
            "Llama, width 32, 100 words", "decoder", model, self.data("decoder", tensors), 100,
            (0, 20, 30, 40, 100), 32, 4, "--learning-rate", "3e-3", "--trainable", "*")

    # MARK: - How

    def run(self, *arguments):
        done = subprocess.run([self.trainer, *arguments], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(" ".join(arguments) + "\n" + done.stderr)

    def data(self, name, tensors):
        path = os.path.join(self.work, name + ".safetensors")
        if not os.path.exists(path):
            safetensors(path, tensors())
        return path

    def description(self, name, shape, layers):
        path = os.path.join(self.work, name + ".json")
        with open(path, "w") as file:
            json.dump({"type": "sequential", "input_shape": shape, "layers": layers}, file)
        return path

    def folder(self, name, base, *options, **changes):
        """A smaller model of a family, with random weights."""
        path = os.path.join(self.work, name + ".json")
        with open(os.path.join(FIXTURES, "configs", base)) as file:
            settings = dict(json.load(file), **changes)
        with open(path, "w") as file:
            json.dump(settings, file)
        folder = os.path.join(self.work, name + "-model")
        if not os.path.isdir(folder):
            self.run("init", path, "-o", folder, *options)
        return [folder] + (["--adapter", folder + "/adapter"] if options else [])

    def stages(self, title, name, model, data, epochs, shown, size, batches, *options):
        out = os.path.join(self.work, name)
        if not os.path.isdir(out):
            self.run("train", *model, "--data", data, "-o", out, "--epochs", str(epochs), *options)
        for epoch in shown:
            path = os.path.join(out, "epoch-%0*d.bin" % (max(2, len(str(epochs))), epoch))
            yield "%s, epoch %d" % (title, epoch), [path, "--data", data, "--batch-size", str(size)], batches
