// swift-tools-version: 6.1
import PackageDescription

/// Targets in dependency order: bytes and kernels first, the command last.
let package = Package(
  name: "approx-eval",
  products: [
    .executable(name: "eval-cli", targets: ["eval-cli"]),
    .library(name: "ApproxEval", targets: ["ApproxEval"]),
    .library(name: "Updates", targets: ["Updates"]),
    .library(name: "HessianFree", targets: ["HessianFree"]),
    .library(name: "Metrics", targets: ["Metrics"]),
    .library(name: "Checkpoints", targets: ["Checkpoints"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
  ],
  targets: [
    // Dense linear algebra: OpenBLAS (cblas) and LAPACKE.
    .systemLibrary(
      name: "COpenBLAS", pkgConfig: "openblas",
      providers: [.apt(["libopenblas-dev", "liblapacke-dev"])]),
    // Zip archives (npz).
    .systemLibrary(name: "CLibZip", pkgConfig: "libzip", providers: [.apt(["libzip-dev"])]),
    // What C alone may do about files: the handler of a signal.
    .target(name: "CFiles", exclude: ["README.md"]),
    // Vector loops that BLAS does not have, in C with run-time dispatch.
    .target(
      name: "CKernels", exclude: ["README.md", "coefficients.py", "references.py"],
      // Where the compiler knows a buffer's size, copies into it are checked as they run.
      cSettings: [.define("_FORTIFY_SOURCE", to: "2", .when(configuration: .release))]),
    // Limits of the process, looked at before its libraries are initialised.
    .target(name: "CStartUp", exclude: ["README.md"]),
    // Scalars, vectors, kernels, worker threads, counter-based random numbers.
    .target(
      name: "TensorModule", dependencies: ["COpenBLAS", "CKernels"], exclude: ["README.md"]),
    // Programs for one sample: operations with value, jvp, vjp, per-sample gradients.
    .target(name: "GraphModule", dependencies: ["TensorModule"], exclude: ["README.md"]),
    // Solvers that see only products with a symmetric operator.
    .target(name: "HessianFree", dependencies: ["TensorModule"], exclude: ["README.md"]),
    // Losses, linearizations, Fisher products, Gram matrices.
    .target(
      name: "Curvature", dependencies: ["GraphModule", "HessianFree", "TensorModule"],
      exclude: ["README.md"]),
    // Update methods: what direction an optimiser would take.
    .target(
      name: "Updates", dependencies: ["Curvature", "GraphModule", "HessianFree", "TensorModule"],
      exclude: ["README.md"]),
    // Optimisers: from the direction of a mini-batch to a step.
    .target(
      name: "Training", dependencies: ["Curvature", "GraphModule", "TensorModule", "Updates"],
      exclude: ["README.md"]),
    // The indicator and statistics: plain numbers in, numbers out.
    .target(name: "Metrics", dependencies: [], exclude: ["README.md"]),
    // Bytes to named tensors.
    .target(
      name: "Checkpoints", dependencies: ["CFiles", "CLibZip", "TensorModule"],
      exclude: ["README.md", "ExportedProgram/README.md"]),
    // Named tensors to graphs.
    .target(
      name: "Models", dependencies: ["GraphModule", "Checkpoints", "TensorModule"],
      exclude: ["README.md", "ExportedProgram/README.md", "Tensors/README.md"]),
    // Algorithm 4 over checkpoints and batches; reports.
    .target(
      name: "ApproxEval",
      dependencies: [
        "Checkpoints", "Curvature", "GraphModule", "HessianFree", "Metrics", "Models",
        "TensorModule", "Training", "Updates",
        .product(name: "Crypto", package: "swift-crypto"),
      ], exclude: ["README.md"]),
    // Tables of a run to figures: gnuplot scripts, an HTML page.
    .target(name: "Figures", dependencies: ["Metrics", "Checkpoints"], exclude: ["README.md"]),
    // The command.
    .executableTarget(
      name: "eval-cli",
      dependencies: [
        "ApproxEval", "Checkpoints", "CStartUp", "Figures", "HessianFree", "Training", "Updates",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], exclude: ["README.md"]),
    // Tests mirror the targets.
    .testTarget(name: "TensorModuleTests", dependencies: ["TensorModule", "CKernels"]),
    .testTarget(name: "CheckpointsTests", dependencies: ["Checkpoints", "TensorModule"]),
    .testTarget(name: "HessianFreeTests", dependencies: ["HessianFree", "TensorModule"]),
    .testTarget(name: "MetricsTests", dependencies: ["Metrics"]),
    // The dense oracle, the case list, comparisons.
    .target(
      name: "TestSupport",
      dependencies: ["Checkpoints", "Curvature", "GraphModule", "Models", "TensorModule"],
      path: "Tests/TestSupport"),
    .testTarget(
      name: "GraphModuleTests",
      dependencies: ["Curvature", "GraphModule", "TensorModule", "TestSupport"]),
    .testTarget(
      name: "CurvatureTests",
      dependencies: ["Curvature", "GraphModule", "HessianFree", "TensorModule", "TestSupport"]),
    .testTarget(
      name: "UpdatesTests",
      dependencies: ["Curvature", "HessianFree", "TensorModule", "TestSupport", "Updates"]),
    .testTarget(
      name: "TrainingTests",
      dependencies: [
        "ApproxEval", "Checkpoints", "Curvature", "GraphModule", "Models", "TensorModule",
        "TestSupport", "Training", "Updates",
      ]),
    .testTarget(
      name: "ModelsTests",
      dependencies: [
        "Checkpoints", "Curvature", "GraphModule", "Models", "TensorModule", "TestSupport",
      ]),
    // Whole runs on a simulated disk: some in the tests, any number by `make simulate`.
    .target(
      name: "Simulation", dependencies: ["ApproxEval", "Checkpoints", "TestSupport"],
      path: "Tests/Simulation"),
    .executableTarget(name: "simulate", dependencies: ["Simulation"], path: "Tests/Simulate"),
    .testTarget(
      name: "ApproxEvalTests",
      dependencies: [
        "ApproxEval", "Checkpoints", "Curvature", "GraphModule", "HessianFree", "Models",
        "Simulation", "TensorModule", "TestSupport", "Training", "Updates",
        .product(name: "Crypto", package: "swift-crypto"),
      ]),
    .testTarget(
      name: "FiguresTests",
      dependencies: [
        "Figures", "ApproxEval", "TestSupport", "Updates",
        .product(name: "Crypto", package: "swift-crypto"),
      ]),
    // Runs the built command.
    .testTarget(
      name: "CommandLineTests",
      dependencies: [
        "eval-cli", "ApproxEval", "Checkpoints", "Figures", "HessianFree", "TensorModule",
        "TestSupport", .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ], exclude: ["Snapshots"]),
  ]
)

// For `make fuzz` alone: the readers with AddressSanitizer and counters of what is reached, and the
// program that feeds them (Fuzzing/README.md). No user of the package sees it.
if Context.environment["APPROX_EVAL_FUZZING"] != nil {
  for target in package.targets where target.type == .regular {
    target.cSettings =
      (target.cSettings ?? []) + [.unsafeFlags(["-fsanitize=fuzzer-no-link,address"])]
    target.swiftSettings =
      (target.swiftSettings ?? []) + [.unsafeFlags(["-sanitize=fuzzer,address"])]
  }
  package.targets += [
    .target(name: "FuzzerDriver", path: "Fuzzing/Driver"),
    .executableTarget(
      name: "fuzz",
      dependencies: [
        "ApproxEval", "Checkpoints", "Figures", "FuzzerDriver", "GraphModule", "HessianFree",
        "Models", "TensorModule", "Updates", .product(name: "Crypto", package: "swift-crypto"),
      ],
      path: "Fuzzing/Fuzz", linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address"])]),
  ]
}
