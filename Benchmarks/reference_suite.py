"""Times the reference on the checkpoints of reference_cases.py; reference-suite.sh says how."""

import collections
import csv
import os
import re
import resource
import subprocess
import sys

from reference_cases import FIXTURES, Cases

clis = sys.argv[1:]
work, gap = os.environ["WORK"], os.environ["GAP"]
rounds, slow, limit = int(os.environ["ROUNDS"]), float(os.environ["SLOW"]), int(os.environ["LIMIT"])
solvers = os.environ["SOLVERS"].split()
METHODS = ("--methods", "sgd,ef,ief,sf")


class Failure(Exception):
    pass


def processor_seconds(*arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        arguments, capture_output=True, text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit)))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode < 0:
        raise Failure("> %d s" % limit)
    if done.returncode != 0:
        raise Failure((done.stderr.strip().splitlines() or ["?"])[-1])
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def score(cli, arguments, batches, solver, repeats=1):
    """The least time, and the rows of batches.csv."""
    out = os.path.join(work, "out-%d" % os.getpid())
    command = (cli, "score", *arguments, "--batches", str(batches), "--precision", "float32", "--threads", "1",
               "--cg-gap", gap, *METHODS, "--reference", solver, "--quiet", "--force", "--output", out)
    seconds = min(processor_seconds(*command) for _ in range(repeats))
    with open(os.path.join(out, "batches.csv")) as file:
        return seconds, list(csv.DictReader(file))


def proved(row):
    bounds = [float(row.get(name) or "inf") for name in ("reference_excess_short", "reference_excess_bound")]
    return 100 * min(bounds)


def solved_by(rows, solver):
    """Iterations; of `auto` also what it took and how often."""
    counts = [int(row["reference_iterations"]) for row in rows if row["reference_iterations"]]
    mean = "%.0f" % (sum(counts) / len(counts)) if counts else ""
    if solver != "auto":
        return mean
    took = collections.Counter(row["reference_solver"] for row in rows).most_common()
    if len(took) == 1:
        return " ".join(part for part in (took[0][0], mean) if part)
    return ", ".join("%d %s" % (number, name) for name, number in took)


def cell(cli, arguments, batches, solver, base):
    """Milliseconds a batch (iterations; the widest bracket)"""
    try:
        seconds, rows = score(cli, arguments, 1, solver)
        count = 1
        if batches > 1 and (seconds - base[1]) * batches < slow:
            count = batches
            seconds, rows = score(cli, arguments, batches, solver, rounds)
    except Failure as failure:
        return str(failure)
    inside = (solved_by(rows, solver), "%.2g %%" % max(proved(row) for row in rows))
    return "%.2f (%s)" % (1e3 * (seconds - base[count]) / count, "; ".join(part for part in inside if part))


def timings():
    cases = Cases(work, clis[-1])
    wanted = os.environ["CASES"]
    before = os.environ["BEFORE"].split()
    columns = []
    for solver in solvers:
        for cli in clis:
            if cli != clis[-1] and solver in before:
                columns.append((cli, solver, solver + ", before"))
            elif cli == clis[-1]:
                columns.append((cli, solver, solver))
    print("| case | loss | alg4 | " + " | ".join(title for _, _, title in columns) + " |")
    print("| --- | ---: |" + " ---: |" * (len(columns) + 1))
    for name in cases.all if wanted == "all" else wanted.split():
        for title, arguments, batches in cases.all[name]():
            bases = {}
            for cli in clis:
                (one, rows), (more, _) = (score(cli, arguments, n, "none", rounds) for n in (1, batches + 1))
                all_of_them = score(cli, arguments, batches, "none", rounds)[0]
                bases[cli] = {1: one, batches: all_of_them}
            cells = [title, "%.2g" % float(rows[0]["mean_loss"]), "%.2f" % (1e3 * (more - one) / batches)]
            cells += [cell(cli, arguments, batches, solver, bases[cli]) for cli, solver, _ in columns]
            print("| " + " | ".join(cells) + " |", flush=True)


def leading():
    """What the rows of leading classes come to on the digits, in double."""
    print("| | rows for a gap of 1 % | gamma above the least | rows for 0.1 % | gamma | products of cg for 1 %, 0.1 % |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for epoch in (3, 10, 20, 40):
        path = os.path.join(FIXTURES, "digits", "epoch-%02d.bin" % epoch)

        def reference(solver, gap):
            out = os.path.join(work, "out-%d" % os.getpid())
            command = (clis[-1], "score", path, "--methods", "sgd", "--reference", solver, "--cg-gap", str(gap),
                       "--cg-iterations", "3000", "--precision", "float64", "--force", "--output", out)
            text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            with open(os.path.join(out, "batches.csv")) as file:
                return text, next(csv.DictReader(file))

        least = float(reference("dense", 0.001)[1]["reference_gamma"])
        cells = ["epoch %d" % epoch]
        for gap in (0.01, 0.001):
            text, row = reference("leading", gap)
            cells.append(re.search(r"from\s+(\S+)\s+of", text).group(1))
            cells.append("%.2g %%" % (100 * (float(row["reference_gamma"]) / least - 1)))
        cells.append(", ".join(reference("cg", gap)[1]["reference_iterations"] for gap in (0.01, 0.001)))
        print("| " + " | ".join(cells) + " |", flush=True)


if os.environ["CASES"] == "leading":
    leading()
else:
    print("Bracket %g: milliseconds of processor time a batch for the reference alone (solver that auto took," % float(gap))
    print("iterations of it; the widest bracket that is proved).")
    print()
    timings()
